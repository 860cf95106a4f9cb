"""A process that answers questions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from clearing.runtime.helper_process import Answer, HelperProcess
from tests.waiting import PATIENCE_SECONDS

FIRST = textwrap.dedent("""
    from tests.runtime.test_helper_process import outlives_signals

    print(outlives_signals())
""")

FAILING = textwrap.dedent("""
    from clearing.runtime.helper_process import HelperProcess
    from tests.runtime.test_helper_process import repeating

    helper = HelperProcess("repeating", repeating, "2")
    print(helper.ask(b"so"))
    raise SystemExit(3)
""")


def repeating(times: str) -> Answer:
    return lambda question: question * int(times)


def outlives_signals() -> bool:
    """Whether a process that is started now still answers after the signals of a terminal and of a service manager."""
    with HelperProcess("repeating", repeating, "2") as helper:
        assert helper.process_id is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(helper.process_id, number)
        try:
            return helper.ask(b"so") == b"soso"
        except (OSError, EOFError):
            return False


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_the_first_one_outlives_signals_as_all_others_do() -> None:
    """Together with the first, Python starts a process that keeps books."""
    first = run(FIRST)
    assert (first.stdout, first.stderr) == ("True\n", "")
    assert outlives_signals()


def test_one_that_nobody_closes_does_not_keep_this_process_from_ending() -> None:
    failing = run(FAILING)
    assert (failing.returncode, failing.stdout, failing.stderr) == (3, "b'soso'\n", "")
