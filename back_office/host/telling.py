"""What a gateway tells of its own life: to whom, and in which words, whoever starts it decides."""

from __future__ import annotations

from typing import Protocol

import structlog

from clearing.postgres.writing.writer_lock import LockHolder

logger = structlog.get_logger()


class Telling(Protocol):
    """Hears how far a gateway has come."""

    def standing_by(self, holder: LockHolder) -> None:
        """Another one writes; this one waits. Told once for each that it waits for."""

    def serving(self, origin: str, address: str, entries: int) -> None:
        """It serves this alliance's log, of so many entries, at this address."""

    def stopped(self) -> None:
        """It has ended as it was told to."""


class TellingInTheLog:
    """Tells programs, by lines of the log."""

    def standing_by(self, holder: LockHolder) -> None:
        """Another one writes; this one waits."""
        logger.info(
            "standing_by",
            session=holder.session,
            application=holder.application,
            address=holder.address or None,
            since=holder.since,
        )

    def serving(self, origin: str, address: str, entries: int) -> None:
        """It serves."""
        logger.info("serving", origin=origin, address=address, entries=entries)

    def stopped(self) -> None:
        """It has ended as it was told to."""
        logger.info("stopped")
