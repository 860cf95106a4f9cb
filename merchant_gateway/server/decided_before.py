"""Whether a message that could not be decided now was decided before: then its sender is to hear the answer.

A till that lost an answer asks again, and meanwhile its key may have been revoked or the instruction have expired. The
writer finds the answer; this only tells which of such messages are worth its time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy

from clearing.errors import ErrorReason, Rejection
from clearing.model import Instruction, Presentment
from clearing.postgres.database import snapshot
from clearing.postgres.reading.ledger_reads import read_instruction, read_transaction

LOOKS_AT_ONCE_MAX: Final = 2
"""A revoked key that was stolen still signs messages that are looked up: they must not take the gateway's threads."""
RETRY_DELAY_MS: Final = 200


class DecidedBefore:
    """Looks up what was decided under a reference. For any thread."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine
        self._room = threading.BoundedSemaphore(LOOKS_AT_ONCE_MAX)

    def presentment(self, presentment: Presentment) -> bool:
        """Whether its first transaction was decided with this content. Raises ``Rejection`` where too many ask."""
        first = presentment.transactions[0]
        with self._turn(), snapshot(self._engine) as connection:
            recorded = read_transaction(connection, presentment.merchant, first.reference)
        return recorded is not None and recorded.content_digest == first.content_digest

    def instruction(self, instruction: Instruction) -> bool:
        """Whether it was decided with this content. Raises ``Rejection`` where too many ask."""
        with self._turn(), snapshot(self._engine) as connection:
            recorded = read_instruction(connection, instruction.key)
        return recorded is not None and recorded.content_digest == instruction.content_digest

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A place among those who may look at once, or the refusal that says to come again."""
        if not self._room.acquire(blocking=False):
            raise Rejection(
                ErrorReason.POOL_FULL,
                "too many messages whose keys are not valid ask for earlier answers; send again after the delay in "
                "RetryInfo",
                retry_delay_ms=RETRY_DELAY_MS,
            )
        try:
            yield
        finally:
            self._room.release()
