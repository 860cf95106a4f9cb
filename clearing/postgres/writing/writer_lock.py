"""The writer's lock: keeps a second gateway waiting instead of fencing it at every batch.

It is a courtesy, not the safety: what makes a second writer harmless is the swap of the head.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import psycopg2
from sqlalchemy import Engine

from clearing.errors import ClearingError
from clearing.postgres.database_errors import is_operational, translated_errors

WRITER_LOCK: Final = 0x636C_6561_7202
"""Key of the advisory lock: "clear" in ASCII, and 2."""

LEASE_SECONDS: Final = 5
"""How long the holder may be silent before the server takes the lock from it."""

CHECKS_PER_LEASE: Final = 4
"""How often the holder makes itself heard in that span."""

PATIENCE_SECONDS: Final = 3.0
"""How long a new writer waits: the server takes a moment to notice that a killed process is gone."""

GIVE_WAY_MS: Final = 5_000
"""How long the server may take to end the session of a writer that lost the lock."""


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The database session that has the writer's lock."""

    session: int
    """The id of its server process."""
    application: str
    """What it calls itself."""
    address: str
    """Where it connects from; empty where that is the database's own machine."""
    since: str
    """When it connected, in UTC."""

    def __str__(self) -> str:
        """For people."""
        return (
            f"database session {self.session} ({self.application!r}, from {self.address or 'the same machine'}, "
            f"since {self.since} UTC)"
        )


class WriterLockHeldError(ClearingError):
    """Another process is the writer."""

    def __init__(self, holder: LockHolder | None) -> None:
        """``holder`` is None where the lock was given back before its holder could be asked for."""
        self.holder = holder
        if holder is None:
            super().__init__("Another process was the writer of this ledger a moment ago. Try again.")
        else:
            super().__init__(
                f"Another process is the writer of this ledger: {holder}. Stop that process, or wait for it to end. "
                "If it is gone and the session remains, end it with: "
                f"SELECT pg_terminate_backend({holder.session})"
            )


class WriterLock:
    """The lock on a session of its own; made by ``hold_writer_lock``. Safe to share between threads.

    The server ends the session, and frees the lock, when the holder's process ends or is silent for its lease, as a
    frozen process is. A thread of this object's own prolongs the lease, so that no long batch can lose it.
    """

    def __init__(self, session: psycopg2.extensions.connection, lease_seconds: float) -> None:
        """``session`` holds the lock for the lease, is in autocommit mode, and becomes this object's own."""
        self._session = session
        self.session_id = session.info.backend_pid
        """The id of the session's server process."""
        self.seen_s = time.monotonic()
        """When the lock was last known to be held, by the monotonic clock."""
        self.is_lost = False
        """Whether it was found to be lost, or was given back."""
        self._released = threading.Event()
        threading.Thread(
            target=self._prolong, args=(lease_seconds / CHECKS_PER_LEASE,), name="writer lock", daemon=True
        ).start()

    def __enter__(self) -> Self:
        """Nothing more: the lock is held already."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Like ``release``."""
        self.release()

    def still_held(self) -> bool:
        """Whether this process is still the writer: asks the database, and prolongs the lease."""
        asked_s = time.monotonic()
        if not self.is_lost and self._is_granted():
            self.seen_s = asked_s
        else:
            self.is_lost = True
        return not self.is_lost

    def release(self) -> None:
        """Let another process be the writer, at once. A second call does nothing."""
        self.is_lost = True
        self._released.set()
        # A session that is only closed keeps its lock until the server has noticed, a moment later.
        with contextlib.suppress(psycopg2.Error), self._session.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (WRITER_LOCK,))
        self._session.close()

    def _prolong(self, seconds: float) -> None:
        while not self._released.wait(seconds) and self.still_held():
            pass

    def _is_granted(self) -> bool:
        try:
            with self._session.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_locks"
                    " WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
                    " AND (classid::bigint << 32) + objid::bigint = %s",
                    (WRITER_LOCK,),
                )
                row = cursor.fetchone()
        except psycopg2.InterfaceError:
            return False
        except psycopg2.Error as error:
            # The driver files a server that dies in mid-statement under no more than DatabaseError.
            if not is_operational(error):
                raise
            return False
        return row is not None and row[0] == 1


def hold_writer_lock(
    engine: Engine, *, lease_seconds: int = LEASE_SECONDS, patience_seconds: float = PATIENCE_SECONDS
) -> WriterLock:
    """Become the writer, waiting up to ``patience_seconds`` for another to end.

    Raises:
        WriterLockHeldError: another process is; its text names the session that holds the lock.
        DatabaseUnavailableError: the database cannot be reached.
    """
    deadline = time.monotonic() + patience_seconds

    def wait(holder: LockHolder | None) -> bool:
        if time.monotonic() >= deadline:
            raise WriterLockHeldError(holder)
        time.sleep(0.05)
        return True

    lock = wait_for_writer_lock(engine, wait, lease_seconds=lease_seconds)
    assert lock is not None, "waits or raises"
    return lock


def wait_for_writer_lock(
    engine: Engine, wait: Callable[[LockHolder | None], bool], *, lease_seconds: int = LEASE_SECONDS
) -> WriterLock | None:
    """Become the writer as soon as nobody else is; None if that is no longer wanted.

    ``wait`` is told who holds the lock (None: nobody any more), waits as long as it likes before the next attempt, and
    says whether one is to be made. Raises ``DatabaseUnavailableError``, and what ``wait`` raises.
    """
    with translated_errors():
        pooled = engine.raw_connection()
        session = pooled.driver_connection
        pooled.detach()
        assert isinstance(session, psycopg2.extensions.connection)
        try:
            session.autocommit = True
            with session.cursor() as cursor:
                while not _try_to_lock(cursor):
                    if not wait(_holder(cursor)):
                        session.close()
                        return None
                cursor.execute("SELECT set_config('idle_session_timeout', %s, false)", (f"{lease_seconds}s",))
                _end_unfinished_batches(cursor)
        except BaseException:  # whatever happened, even Ctrl-C: a session left open would keep the lock
            session.close()
            raise
    return WriterLock(session, lease_seconds)


def _try_to_lock(cursor: psycopg2.extensions.cursor) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (WRITER_LOCK,))
    return cursor.fetchone() == (True,)


def _end_unfinished_batches(cursor: psycopg2.extensions.cursor) -> None:
    """End the transactions of earlier writers: one that is frozen in mid-batch would hold up the next for long."""
    cursor.execute(
        "SELECT count(pg_terminate_backend(pid, %s)) FROM pg_locks"
        " WHERE locktype = 'relation' AND granted AND pid <> pg_backend_pid() AND mode = 'RowExclusiveLock'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND relation = to_regclass('log_head')",
        (GIVE_WAY_MS,),
    )


def _holder(cursor: psycopg2.extensions.cursor) -> LockHolder | None:
    cursor.execute(
        "SELECT pid, application_name, coalesce(host(client_addr), ''),"
        " to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS')"
        " FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND pg_locks.database = pg_stat_activity.datid"
        " AND datname = current_database() AND (classid::bigint << 32) + objid::bigint = %s",
        (WRITER_LOCK,),
    )
    row = cursor.fetchone()
    return None if row is None else LockHolder(*row)
