"""Where decided batches are committed: each in one transaction, one after the other over one connection."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from sqlalchemy import Engine

from clearing.postgres.bulk import driver_cursor
from clearing.postgres.held_connection import HeldConnection
from clearing.postgres.sql import Statement, execute


class CommitTimes(NamedTuple):
    """How long it took."""

    record_seconds: float
    commit_seconds: float


class Recorder(Protocol):
    """Commits batches. For one thread at a time."""

    def commit(self, statements: Iterable[Statement]) -> CommitTimes:
        """Execute the statements in one transaction.

        Raises an execution's ``otherwise``, and ``DatabaseUnavailableError``: then it is not known whether they are
        committed. Whatever else it raises, they are not.
        """
        ...

    def pause(self) -> None:
        """Hold no connection while there is nothing to do."""
        ...


class DatabaseRecorder:
    """A recorder in this process."""

    def __init__(self, engine: Engine) -> None:
        self._connection = HeldConnection(engine)

    def commit(self, statements: Iterable[Statement]) -> CommitTimes:
        """See ``Recorder``."""
        began = time.perf_counter()
        with self._connection.transaction() as connection:
            with driver_cursor(connection) as cursor:
                execute(cursor, statements)
            recorded = time.perf_counter()
        return CommitTimes(recorded - began, time.perf_counter() - recorded)

    def pause(self) -> None:
        """See ``Recorder``."""
        self._connection.release()
