"""The output's disk is full: a command says so, and a gateway whose log finds no room works on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clearing.v1.envelope_pb2 import Envelope
from tests.back_office.installation import Installation
from tests.integration.alliance import Alliance, founded
from tests.integration.command import settings_of
from tests.integration.observation import refusal
from tests.integration.test_writer import earn, submission
from tests.waiting import PATIENCE_SECONDS, wait_until

FULL = Path("/dev/full")
"""A device that takes nothing, as a full disk; Linux has it."""

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.mark.parametrize("argument", ["--version", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_finds_no_room_is_said_in_one_line(tmp_path: Path, argument: str, unbuffered: str) -> None:
    with FULL.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "back_office.cli", argument],
            env=Installation(tmp_path / "home", settings={"PYTHONUNBUFFERED": unbuffered}).environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.stderr == (
        "Error: the result cannot be written to standard output: No space left on device; what was done stays done: "
        "make room or send the output elsewhere, and run the same command again\n"
    )
    assert done.returncode == 1


def test_a_gateway_whose_log_finds_no_room_works_on(database_url: str, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    with founded(database_url) as alliance, FULL.open("w") as log, said.open("w") as output:
        alliance.admit("bakery")
        alliance.close()
        process = subprocess.Popen(
            [sys.executable, "-m", "back_office.cli", "gateway", "--address", "127.0.0.1:0", "--log-level", "debug"],
            env=Installation(tmp_path / "home", settings=settings_of(alliance, tmp_path / "home")).environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
        )
        try:
            wait_until(lambda: said.read_text().endswith("Ctrl-C stops.\n"))
            alliance.call(said.read_text().split(" at ")[1].split(",")[0])
            card = alliance.open_card("bakery")
            # Batches and refusals are logged at this level.
            assert refusal(submission(alliance, earn(alliance, card), forged(alliance, card))).reason == "BAD_SIGNATURE"
            assert alliance.earn("bakery", card, 5).points_available == 5
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
            process.wait()


def forged(alliance: Alliance, card: str) -> Envelope:
    envelope = earn(alliance, card)
    envelope.signatures[0].sig = bytes(64)
    return envelope
