"""Telling a gateway that fails from a sale at which the gateway fails.

Either answers INTERNAL. Waiting helps against the first; the second would hold up all sales behind it for ever, since
sales are sent in their order. A sale is found at fault only by comparison: alone it fails several times, then a sale
of another card does not, then it fails once more.
"""

from __future__ import annotations

from collections.abc import Collection

from clearing.model import Reference

FAILURES_BEFORE_COMPARING = 4
"""Backoff makes some seconds of them, in which most troubles of a gateway pass."""


class Suspicion:
    """Which sale it may be. Whoever sends uses it, and nobody else."""

    def __init__(self) -> None:
        self._sale: Reference | None = None
        self._failures = 0
        self._is_another_answered = False

    def failed(self, sale: Reference) -> bool:
        """Note that a call of this sale alone was answered INTERNAL; whether the sale is certainly at fault."""
        if sale != self._sale:
            self._sale, self._failures, self._is_another_answered = sale, 0, False
        self._failures += 1
        return self._is_another_answered

    def asks_for_another(self, sale: Reference) -> bool:
        """Whether, in place of this sale, one of another card is to be sent alone."""
        return sale == self._sale and self._failures >= FAILURES_BEFORE_COMPARING and not self._is_another_answered

    def answered(self, sales: Collection[Reference]) -> None:
        """Note that these were decided in a call."""
        if self._sale in sales:
            self._sale = None
        else:
            self._is_another_answered = True
