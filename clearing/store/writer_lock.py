"""The writer's lock: keeps a second gateway waiting instead of fencing it at every batch.

It is a courtesy, not the safety: what makes a second writer harmless is the swap of the head.
"""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Final, Self

import psycopg2
from sqlalchemy import Engine

from clearing.errors import ClearingError
from clearing.store.database_errors import is_operational, translated_errors

WRITER_LOCK: Final = 0x636C_6561_7202
"""Key of the advisory lock: "clear" in ASCII, and 2."""

LEASE_SECONDS: Final = 15
"""How long the holder may be silent before the server takes the lock from it."""

PATIENCE_SECONDS: Final = 3.0
"""How long a new writer waits: the server takes a moment to notice that a killed process is gone."""


class WriterLockHeldError(ClearingError):
    """Another process is the writer."""


class WriterLock:
    """The lock on a session of its own; made by ``hold_writer_lock``. Safe to share between threads.

    The server ends the session, and frees the lock, when the holder's process ends or when the holder is silent for
    ``LEASE_SECONDS``, as a frozen process is: so ask ``still_held`` several times in that span.
    """

    def __init__(self, session: psycopg2.extensions.connection) -> None:
        """``session`` holds the lock, is in autocommit mode, and becomes this object's own."""
        self._session = session

    def __enter__(self) -> Self:
        """Nothing more: the lock is held already."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Like ``release``."""
        self.release()

    def still_held(self) -> bool:
        """Whether this process is still the writer; asking prolongs the lease."""
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

    def release(self) -> None:
        """Let another process be the writer, at once. A second call does nothing."""
        # A session that is only closed keeps its lock until the server has noticed, a moment later.
        with contextlib.suppress(psycopg2.Error), self._session.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (WRITER_LOCK,))
        self._session.close()


def hold_writer_lock(
    engine: Engine, *, lease_seconds: int = LEASE_SECONDS, patience_seconds: float = PATIENCE_SECONDS
) -> WriterLock:
    """Become the writer, waiting up to ``patience_seconds`` for another to end.

    Raises:
        WriterLockHeldError: another process is; its text names the session that holds the lock.
        DatabaseUnavailableError: the database cannot be reached.
    """
    with translated_errors():
        pooled = engine.raw_connection()
        session = pooled.driver_connection
        pooled.detach()
        assert isinstance(session, psycopg2.extensions.connection)
        try:
            session.autocommit = True
            with session.cursor() as cursor:
                deadline = time.monotonic() + patience_seconds
                while not _try_to_lock(cursor):
                    if time.monotonic() >= deadline:
                        raise WriterLockHeldError(_who_holds_it(cursor))
                    time.sleep(0.05)
                cursor.execute("SELECT set_config('idle_session_timeout', %s, false)", (f"{lease_seconds}s",))
        except BaseException:  # whatever happened, even Ctrl-C: a session left open would keep the lock
            session.close()
            raise
    return WriterLock(session)


def _try_to_lock(cursor: psycopg2.extensions.cursor) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (WRITER_LOCK,))
    return cursor.fetchone() == (True,)


def _who_holds_it(cursor: psycopg2.extensions.cursor) -> str:
    cursor.execute(
        "SELECT pid, application_name, to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS'), client_addr"
        " FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND pg_locks.database = pg_stat_activity.datid"
        " AND datname = current_database() AND (classid::bigint << 32) + objid::bigint = %s",
        (WRITER_LOCK,),
    )
    holder = cursor.fetchone()
    if holder is None:
        return "Another process was the writer of this ledger a moment ago. Try again."
    process_id, application_name, started, address = holder
    return (
        f"Another process is the writer of this ledger: database session {process_id} ({application_name!r}, from "
        f"{address or 'the same machine'}, since {started} UTC). Stop that process, or wait for it to end. "
        f"If it is gone and the session remains, end it with: SELECT pg_terminate_backend({process_id})"
    )
