"""What a gateway counts and times for its operator. The writer and the server tell; who listens is decided outside.

Everything is told once a batch or once a call, never once a transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from clearing.errors import ErrorReason
from clearing.model import Outcome


class Stage(StrEnum):
    """The writer's steps of a transaction's way."""

    LOAD = "load"
    DECIDE = "decide"
    RECORD = "record"
    COMMIT = "commit"


class StageTimer:
    """Times the stages of one batch, one after the other."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[Stage, float] = {}
        """How long each stage that has ended took."""

    def ended(self, stage: Stage) -> None:
        """The stage ends now; it began when the one before ended, or when the timer was made."""
        now = time.perf_counter()
        self.took(stage, now - self._last)
        self._last = now

    def took(self, stage: Stage, seconds: float) -> None:
        """The stage took so long, or so long more, in another place."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What a committed batch came to."""

    outcomes: Mapping[Outcome, int]
    """New decisions, of transactions and of instructions, by outcome."""
    replayed: int
    """Transactions that were in a new entry and decided before; and messages that were decided before as a whole."""
    seconds: Mapping[Stage, float]

    @property
    def decided(self) -> int:
        """New decisions."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class WriterGauges:
    """What can be asked of a writer at any time, from any thread."""

    transactions_waiting: Callable[[], int]
    log_entries: Callable[[], int]
    is_able: Callable[[], bool]
    """Whether calls can be decided now."""


class Metrics:
    """Listens to nothing: what the parts are given where nobody asked for metrics."""

    def watch_writer(self, writer: WriterGauges) -> None:
        """Ask this writer whenever somebody wants to know."""

    def observe_batch(self, batch: BatchSummary) -> None:
        """A batch was committed."""

    def observe_call(self, method: str, code: str, seconds: float) -> None:
        """A call was answered: ``method`` as ``MerchantGateway/Submit``, ``code`` gRPC's name of the status code."""

    def observe_rejection(self, reason: ErrorReason) -> None:
        """A call was turned away before any decision."""


NO_METRICS = Metrics()
