"""Keeping the sums of the log's stretches up to date, in the background."""

from __future__ import annotations

import threading
from typing import Final

from sqlalchemy import Engine

from clearing.closing import Closing
from clearing.postgres.database_errors import DatabaseUnavailableError, translated_errors
from clearing.postgres.writing.flow_sums import sum_next_stretch

LOOK_SECONDS: Final = 5.0
"""How often it is looked whether the log has grown by another stretch."""
REST_SECONDS: Final = 0.2
"""Between two stretches, for those who have more pressing work; the sums keep up with 80,000 postings a second."""
CLOSE_SECONDS: Final = 5.0


class FlowSumming(Closing):
    """Sums one stretch after the other on a thread of its own, as the log grows."""

    def __init__(self, engine: Engine) -> None:
        """Start. The database is migrated."""
        self._engine = engine
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flow summing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; return without waiting for long where the database does not answer."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(REST_SECONDS if self._sum_next() else LOOK_SECONDS):
            pass

    def _sum_next(self) -> bool:
        """Sum one stretch; whether there was one."""
        try:
            with translated_errors(), self._engine.begin() as connection:
                return sum_next_stretch(connection) is not None
        except DatabaseUnavailableError:
            return False
