"""One process is the writer; it loses the lock with its connection, or by being silent."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Engine, text

from clearing.store.writer_lock import WriterLock, WriterLockHeldError, hold_writer_lock


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
    with _taken_within(engine, seconds=10) as second:
        assert not lock.still_held()
        assert second.still_held()


def test_a_silent_writer_loses_the_lock_and_one_that_asks_keeps_it(engine: Engine) -> None:
    silent = hold_writer_lock(engine, lease_seconds=1)
    for _ in range(4):
        time.sleep(0.4)
        assert silent.still_held()
    with _taken_within(engine, seconds=10) as second:
        assert not silent.still_held()
        assert second.still_held()


def _taken_within(engine: Engine, *, seconds: int) -> WriterLock:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return hold_writer_lock(engine)
        except WriterLockHeldError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
