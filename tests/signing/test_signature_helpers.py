"""The processes that check a call's signatures together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import psutil
import pytest

from clearing.signing.keys import PrivateKey, SignatureCheck, leading_that_hold
from clearing.signing.signature_helpers import SignatureHelpers
from tests.waiting import PATIENCE_SECONDS

KEY = PrivateKey.generate()


def check(text: str) -> SignatureCheck:
    return KEY.public_key, text.encode(), KEY.sign(text.encode())


def bad_check(text: str) -> SignatureCheck:
    return KEY.public_key, text.encode(), KEY.sign(b"something else")


CHECKS = [check(f"message {number}") for number in range(50)]


@pytest.fixture
def helpers() -> Iterator[SignatureHelpers]:
    with SignatureHelpers() as helpers:
        yield helpers


def helper_processes() -> list[psutil.Process]:
    """This process's own, without the one by which multiprocessing keeps books."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # some other test's child, which has ended
            if any("spawn_main" in part for part in child.cmdline()):
                found.append(child)
    return found


@pytest.mark.parametrize(
    ("checks", "held"),
    [
        ([], 0),
        (CHECKS, 50),
        ([bad_check("first"), *CHECKS], 0),
        ([*CHECKS[:20], bad_check("middle"), *CHECKS[20:]], 20),
        ([*CHECKS[:20], (KEY.public_key, b"cut short", b"\0" * 63), *CHECKS[20:]], 20),
        ([*CHECKS[:20], (b"no key", b"message", b"\0" * 64)], 20),
    ],
)
def test_helpers_find_what_a_thread_of_our_own_finds(
    helpers: SignatureHelpers, checks: list[SignatureCheck], held: int
) -> None:
    assert helpers.leading_that_hold(checks) == leading_that_hold(checks) == held


def test_more_threads_than_helpers_each_get_their_own_answer(helpers: SignatureHelpers) -> None:
    found: dict[int, int] = {}

    def ask(place: int) -> None:
        found[place] = helpers.leading_that_hold([*CHECKS[:place], bad_check("end"), *CHECKS])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {place: place for place in range(20)}


def test_a_helper_that_is_killed_costs_no_answer_and_is_replaced(helpers: SignatureHelpers) -> None:
    before = helper_processes()
    assert before
    for process in before:
        process.kill()
    psutil.wait_procs(before, timeout=PATIENCE_SECONDS)
    for _ in before:
        assert helpers.leading_that_hold([*CHECKS, bad_check("end")]) == 50
    after = helper_processes()
    assert len(after) == len(before)
    assert not {each.pid for each in after} & {each.pid for each in before}
    assert helpers.leading_that_hold(CHECKS) == 50


def test_helpers_that_are_frozen_cost_no_answer_and_are_replaced(
    helpers: SignatureHelpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = helper_processes()
    assert before
    for process in before:
        process.suspend()
    monkeypatch.setattr("clearing.signing.signature_helpers.PATIENCE_SECONDS", 0.5)
    for _ in before:
        assert helpers.leading_that_hold([*CHECKS, bad_check("end")]) == 50
    monkeypatch.undo()
    assert psutil.wait_procs(before, timeout=PATIENCE_SECONDS)[1] == []
    assert len(helper_processes()) == len(before)
    assert helpers.leading_that_hold(CHECKS) == 50


def test_helpers_outlive_a_signal_to_the_group_and_end_with_the_block() -> None:
    with SignatureHelpers() as helpers:
        assert helpers.leading_that_hold(CHECKS) == 50
        started = helper_processes()
        for _ in range(2 * len(started)):  # so that each has come so far as to ignore signals
            helpers.leading_that_hold(CHECKS)
        for process in started:
            os.kill(process.pid, signal.SIGTERM)
            os.kill(process.pid, signal.SIGINT)
        assert helpers.leading_that_hold(CHECKS) == 50
        assert [each.pid for each in helper_processes()] == [each.pid for each in started]
    assert psutil.wait_procs(started, timeout=PATIENCE_SECONDS)[1] == []
