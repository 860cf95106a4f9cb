"""What guards money and points is there however Python is started: ``-O`` takes every ``assert`` away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.identities import BROKEN, is_noticed
from tests.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_identity_is_noticed(broken: Callable[[], None]) -> None:
    assert is_noticed(broken)


def test_all_are_noticed_where_python_runs_optimised() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "tests.identities"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert done.stdout == "False\n"
