"""A connection kept from batch to batch: taking one from the pool costs a round trip, to see whether it still lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from clearing.postgres.database_errors import translated_errors


class HeldConnection:
    """Opened when it is first needed, and again after any error. For one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction, committed when the block is left and rolled back on any error.

        Raises ``DatabaseUnavailableError``.
        """
        with translated_errors():
            connection, self._connection = self._connection or self._engine.connect(), None
            try:
                with connection.begin():
                    yield connection
            except BaseException:  # whatever it was, the next transaction begins with a connection that was checked
                connection.close()
                raise
            self._connection = connection

    def release(self) -> None:
        """Give the connection back, as whoever pauses should: it may not live through the pause."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
