"""Standard streams that were closed before the command began: nothing else takes their place, and no result is lost
unsaid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation
from tests.waiting import PATIENCE_SECONDS

LOST = (
    "Error: the result cannot be written to standard output: Bad file descriptor; what was done stays done: make room "
    "or send the output elsewhere, and run the same command again\n"
)


def run(installation: Installation, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, started by a shell with this redirection."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "back_office.cli", *arguments],
        env=installation.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("gateway", "--help")])
def test_a_result_that_has_nowhere_to_go_is_said_in_one_line(
    installation: Installation, arguments: tuple[str, ...]
) -> None:
    done = run(installation, ">&-", *arguments)
    assert (done.returncode, done.stderr) == (1, LOST)


@pytest.mark.parametrize("redirection", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_result_is_written_whatever_else_is_closed(installation: Installation, redirection: str) -> None:
    done = run(installation, redirection, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("clearing")


def test_a_failure_with_no_streams_at_all_has_its_exit_code(installation: Installation) -> None:
    assert run(installation, "<&- >&- 2>&-", "merchant", "list").returncode == 1


def test_what_a_command_does_is_done_without_streams_and_no_file_takes_what_it_says(
    home: Path, database_url: str
) -> None:
    installed = Installation(home, settings={"CLEARING_DATABASE_URL": database_url})
    assert run(installed, "<&- >&- 2>&-", "init", ORIGIN).returncode == 1, "its result is lost"
    with installed.serving():
        assert installed.json("merchant", "list") == []
    said = b"founded"
    assert not [path for path in home.rglob("*") if path.is_file() and said in path.read_bytes()]
