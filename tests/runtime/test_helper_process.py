"""A process that answers questions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from clearing.runtime.helper_process import Answer, HelperLostError, HelperProcess
from tests.open_files import STANDARD_STREAMS, open_files_at_most
from tests.waiting import PATIENCE_SECONDS, wait_until

LARGE = b"so" * 4_000_000
"""More than the line to a process takes before the process has taken some of it."""
SOON_SECONDS = 0.5

FIRST = textwrap.dedent("""
    from tests.runtime.test_helper_process import outlives_signals

    print(outlives_signals())
""")

FAILING = textwrap.dedent("""
    from clearing.runtime.helper_process import HelperProcess
    from tests.runtime.test_helper_process import repeating

    helper = HelperProcess("repeating", repeating, "2")
    print(helper.ask(b"so", 60))
    raise SystemExit(3)
""")


def repeating(times: str) -> Answer:
    return lambda question: question * int(times)


def outlives_signals() -> bool:
    """Whether a process that is started now still answers after the signals of a terminal and of a service manager."""
    with HelperProcess("repeating", repeating, "2") as helper:
        before = running(helper).pid
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(before, number)
        try:
            return helper.ask(b"so", PATIENCE_SECONDS) == b"soso" and helper.process_id == before
        except HelperLostError:
            return False


def running(helper: HelperProcess) -> psutil.Process:
    assert helper.process_id is not None
    return psutil.Process(helper.process_id)


def sleeping(answered: str) -> Answer:
    """Makes a file at each question, and answers after ever so long."""

    def sleep(question: bytes) -> bytes:
        Path(answered).touch()
        time.sleep(10 * PATIENCE_SECONDS)
        return question

    return sleep


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


@pytest.fixture
def helper() -> Iterator[HelperProcess]:
    with HelperProcess("repeating", repeating, "2") as helper:
        assert helper.ask(b"so", PATIENCE_SECONDS) == b"soso"
        yield helper


def test_questions_and_answers_may_be_empty_or_larger_than_any_buffer(helper: HelperProcess) -> None:
    for question in (b"", LARGE, b"so"):
        assert helper.ask(question, PATIENCE_SECONDS) == question * 2


def test_threads_take_turns_and_each_gets_its_own_answer(helper: HelperProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        questions = [bytes([number]) * 1_000 * number for number in range(100)]
        answers = pool.map(lambda question: helper.ask(question, PATIENCE_SECONDS), questions)
        assert list(answers) == [question * 2 for question in questions]


@pytest.mark.parametrize("question", [b"so", LARGE], ids=["small", "larger than the buffers"])
def test_one_that_is_frozen_is_killed_and_replaced_and_nobody_waits_for_ever(
    helper: HelperProcess, question: bytes
) -> None:
    frozen = running(helper)
    frozen.suspend()
    with pytest.raises(HelperLostError, match=r"the repeating gave no answer within 0\.5 s"):
        helper.ask(question, SOON_SECONDS)
    assert not frozen.is_running()
    assert running(helper).pid != frozen.pid
    assert helper.ask(question, PATIENCE_SECONDS) == question * 2


def test_one_that_ended_is_replaced(helper: HelperProcess) -> None:
    ended = running(helper)
    ended.kill()
    with pytest.raises(HelperLostError, match="the repeating ended"):
        helper.ask(b"so", PATIENCE_SECONDS)
    assert helper.ask(b"so", PATIENCE_SECONDS) == b"soso"
    assert helper.process_id != ended.pid


def test_one_that_is_not_wanted_ahead_is_started_with_its_first_question_and_after_a_loss_with_the_next() -> None:
    with HelperProcess("repeating", repeating, "2", ahead=False) as helper:
        for _ in range(2):
            assert helper.process_id is None
            assert helper.ask(b"so", PATIENCE_SECONDS) == b"soso"
            running(helper).kill()
            with pytest.raises(HelperLostError):
                helper.ask(b"so", PATIENCE_SECONDS)


def test_where_none_can_be_started_each_question_says_so_until_one_can(helper: HelperProcess) -> None:
    process = running(helper)
    with open_files_at_most(STANDARD_STREAMS):
        os.kill(process.pid, signal.SIGKILL)
        for how in ("ended", "cannot be started: Too many open files; let the gateway have more"):
            with pytest.raises(HelperLostError, match=f"the repeating {how}"):
                helper.ask(b"so", PATIENCE_SECONDS)
    assert helper.ask(b"so", PATIENCE_SECONDS) == b"soso"


def test_closing_one_that_is_asked_ends_it_and_the_asker_waits_no_longer(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with ThreadPoolExecutor(1) as pool, HelperProcess("sleeping", sleeping, str(asked)) as helper:
        process = running(helper)
        answer = pool.submit(helper.ask, b"so", 10 * PATIENCE_SECONDS)
        wait_until(asked.exists)
        helper.close()
        assert not process.is_running()
        with pytest.raises(HelperLostError):
            answer.result(PATIENCE_SECONDS)
        with pytest.raises(HelperLostError, match="the sleeping is closed"):
            helper.ask(b"so", PATIENCE_SECONDS)
        assert helper.process_id is None
