"""Standing by: a gateway that finds another one writing waits until it is needed."""

from __future__ import annotations

import threading
from typing import Final

import structlog
from sqlalchemy import Engine

from back_office.host.telling import Telling
from clearing.postgres.database_errors import DatabaseUnavailableError
from clearing.postgres.writing.writer_lock import LockHolder, WriterLock, wait_for_writer_lock

logger = structlog.get_logger()

ASK_SECONDS: Final = 0.25
"""How often a gateway that stands by asks for the lock."""

DATABASE_RETRY_SECONDS: Final = 1.0
"""How long it waits before it looks again for a database that is out of reach."""


class Standby:
    """Waits for the writer's lock, and says what it is waiting for once, not each time it asks."""

    def __init__(self, engine: Engine, told_to_stop: threading.Event, telling: Telling) -> None:
        """``told_to_stop`` ends the wait; ``telling`` hears who is waited for."""
        self._engine = engine
        self._told_to_stop = told_to_stop
        self._telling = telling
        self._told: LockHolder | None = None

    def writer_lock(self) -> WriterLock | None:
        """The lock, as soon as nobody else holds it; None once told to stop.

        A database that goes away in the meantime is waited for too.
        """
        is_out_of_reach = False
        while not self._told_to_stop.is_set():
            try:
                return wait_for_writer_lock(self._engine, self._wait)
            except DatabaseUnavailableError as error:
                if not is_out_of_reach:
                    logger.warning("database_unavailable", error=str(error))
                is_out_of_reach = True
                self._told = None  # whoever is the writer when it is back is worth a line
                self._told_to_stop.wait(DATABASE_RETRY_SECONDS)
        return None

    def _wait(self, holder: LockHolder | None) -> bool:
        if holder is not None and holder != self._told:
            self._told = holder
            self._telling.standing_by(holder)
        return not self._told_to_stop.wait(ASK_SECONDS)
