"""A defect of the program itself: a user reads one message, and the report for the maintainers tells no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from clearing.card_token import random_token
from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation
from tests.waiting import PATIENCE_SECONDS


def test_a_defect_is_reported_with_where_it_happened_and_without_what_it_quotes(
    installation: Installation, tmp_path: Path
) -> None:
    # A library that fails: a module of its name, found before it.
    card, frame = random_token(), "the_place_where_it_fails"
    (tmp_path / "alembic.py").write_text(f"def {frame}():\n    raise RuntimeError('row {card}')\n{frame}()\n")
    environment = installation.environment() | {"TMPDIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), environment["PYTHONPATH"]))

    done = subprocess.run(
        [sys.executable, "-m", "back_office.cli", "init", ORIGIN],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    (report,) = tmp_path.glob("clearing-failure-*.txt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: clearing failed in a way it should not (RuntimeError): row ***\n"
        f"The details are in {report}; send them to whoever maintains this program.\n"
    )
    assert f"in {frame}" in report.read_text()
    assert "RuntimeError: row ***" in report.read_text()
