"""One process is the writer; it loses the lock with its connection, or by being silent."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest
from sqlalchemy import Engine, text

from clearing.postgres.writing.writer_lock import (
    LEASE_SECONDS,
    LockHolder,
    WriterLock,
    WriterLockHeldError,
    hold_writer_lock,
    wait_for_writer_lock,
)
from tests.waiting import PATIENCE_SECONDS, wait_until

FIRST_HEAD = "INSERT INTO log_head (size, root, accepted_at, checkpoint) VALUES (1, sha256(''), 0, '')"
HOLDER = textwrap.dedent("""
    import sys
    from clearing.postgres.database import open_engine
    from clearing.postgres.writing.writer_lock import hold_writer_lock

    lock = hold_writer_lock(open_engine(sys.argv[1]), lease_seconds=1)
    print("held", flush=True)
    sys.stdin.readline()
    print("still held:", lock.still_held())
""")


def test_a_second_writer_is_told_who_holds_the_lock(engine: Engine) -> None:
    with hold_writer_lock(engine) as lock:
        with engine.begin() as connection:
            holder = connection.scalar(text("SELECT pid FROM pg_locks WHERE locktype = 'advisory'"))
        with pytest.raises(
            WriterLockHeldError, match=rf"session {holder} \('storage tests', from the same machine, since"
        ):
            hold_writer_lock(engine)
        assert lock.still_held()


def test_a_released_lock_can_be_taken_again(engine: Engine) -> None:
    first = hold_writer_lock(engine)
    first.release()
    first.release()
    assert not first.still_held()
    with hold_writer_lock(engine) as second:
        assert second.still_held()


def test_a_writer_whose_session_was_ended_does_not_hold_the_lock(engine: Engine) -> None:
    lock = hold_writer_lock(engine)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
    with _taken(engine) as second:
        assert not lock.still_held()
        assert second.still_held()


def test_an_idle_writer_keeps_its_lock_for_longer_than_its_lease(engine: Engine) -> None:
    with hold_writer_lock(engine) as lock:
        taken_s = lock.seen_s
        wait_until(lambda: lock.is_lost or lock.seen_s > taken_s + LEASE_SECONDS)
        assert not lock.is_lost
        assert lock.still_held()


def test_a_frozen_writer_loses_the_lock_and_learns_it_when_it_wakes_up(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    frozen = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert frozen.stdout is not None
    try:
        assert frozen.stdout.readline() == "held\n"
        frozen.send_signal(signal.SIGSTOP)
        with _taken(engine) as second:
            frozen.send_signal(signal.SIGCONT)
            said, _ = frozen.communicate("go on\n", timeout=PATIENCE_SECONDS)
            assert said == "still held: False\n"
            assert second.still_held()
    finally:
        frozen.kill()
        frozen.communicate()


def test_a_new_writer_ends_what_the_one_before_left_unfinished(engine: Engine) -> None:
    """A frozen writer in mid-batch holds the head, and would hold up every batch of the next."""
    with engine.connect() as unfinished:
        unfinished.execute(text(FIRST_HEAD))
        with hold_writer_lock(engine), engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM log_head")) == 0
            connection.execute(text("LOCK log_head IN ACCESS EXCLUSIVE MODE NOWAIT"))
        unfinished.invalidate()


def test_waiting_for_the_lock_can_be_given_up(engine: Engine) -> None:
    told: list[LockHolder | None] = []

    def wait(holder: LockHolder | None) -> bool:
        told.append(holder)
        return len(told) < 2

    with hold_writer_lock(engine):
        assert wait_for_writer_lock(engine, wait) is None
    assert [each.application for each in told if each is not None] == ["storage tests"] * 2
    with hold_writer_lock(engine, patience_seconds=0):
        pass


def _taken(engine: Engine) -> WriterLock:
    """The lock, as soon as nobody else has it."""
    return hold_writer_lock(engine, patience_seconds=PATIENCE_SECONDS)
