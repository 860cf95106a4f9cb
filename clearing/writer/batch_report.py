"""What the gateway's log and metrics say of a committed batch.

References and merchants are named, so that a merchant's question can be answered; a card never is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

import structlog

from clearing.deciding.authentication import SignedPresentment
from clearing.deciding.decision import DecidedEntry
from clearing.model import EntryIndex, Outcome
from clearing.rules.presentment import AlreadyDecided
from clearing.runtime.line_limit import LineLimit
from clearing.runtime.metrics import BatchSummary, Metrics, Stage
from clearing.writer.batch import DecidedBatch

logger = structlog.get_logger()

REFUSALS_PER_SECOND_MAX = 50
"""Lines; each costs the writer some ten microseconds, and a merchant's faulty system may refuse thousands a second."""


class BatchReport:
    """Counts each batch for the metrics, and logs it; used by the answerer's thread alone."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._limit = LineLimit(REFUSALS_PER_SECOND_MAX)

    def committed(self, batch: DecidedBatch, seconds: Mapping[Stage, float]) -> None:
        """Take note of a batch that was committed, or that held nothing new."""
        summary = summarise(batch, seconds)
        self._metrics.observe_batch(summary)
        if logger.is_enabled_for(logging.DEBUG):
            logger.debug(
                "batch",
                entries=len(batch.entries),
                decided=summary.decided,
                replayed=summary.replayed,
                log_entries=batch.appended.edge.size,
                milliseconds={stage.value: round(took * 1_000, 3) for stage, took in seconds.items()},
            )
        if summary.outcomes.keys() - {Outcome.ACCEPTED}:
            for entry in batch.entries:
                self._log_refusals(entry)

    def _log_refusals(self, entry: DecidedEntry) -> None:
        if isinstance(entry.message, SignedPresentment):
            presentment = entry.message.presentment
            for position, result in enumerate(entry.results):
                if result.outcome is not Outcome.ACCEPTED and result.original_index is None:
                    self._log_refusal(
                        result.outcome,
                        entry.index,
                        merchant=presentment.merchant,
                        reference=presentment.transactions[position].reference,
                        position=position,
                    )
        elif entry.instruction_outcome not in (None, Outcome.ACCEPTED):
            self._log_refusal(entry.instruction_outcome, entry.index, reference=entry.message.instruction.reference)

    def _log_refusal(self, outcome: Outcome, entry_index: EntryIndex, **whose: str | int) -> None:
        if self._limit.allows_one():
            left_out = self._limit.take_left_out()
            more = {"lines_left_out": left_out} if left_out else {}
            logger.info("refused", outcome=outcome.name, entry=entry_index, **whose, **more)


def summarise(batch: DecidedBatch, seconds: Mapping[Stage, float]) -> BatchSummary:
    """The batch's outcomes, counted."""
    results = [result for entry in batch.entries for result in entry.results]
    new = [result.outcome for result in results if result.original_index is None]
    repeated = sum(isinstance(answer, AlreadyDecided) for answer in batch.answers)
    instructed = [entry.instruction_outcome for entry in batch.entries if entry.instruction_outcome is not None]
    return BatchSummary(Counter(new + instructed), len(results) - len(new) + repeated, seconds)
