"""What can keep a window from being settled, each with what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from clearing.errors import ClearingError
from clearing.model import MerchantId, WindowId


class WindowNotClosedError(ClearingError):
    """The window's range of entries is not fixed yet, so there is nothing to settle."""

    def __init__(self, window: WindowId) -> None:
        """Name the window."""
        super().__init__(f"window {window} is not closed: close it first, once the month is over")
        self.window = window


class InconsistentFlowsError(ClearingError):
    """The flows cannot be those of a whole log: the ledger's invariants do not hold for them."""


class ContradictorySumsError(ClearingError):
    """The sums kept of the log's stretches contradict each other, so they were changed by something else."""

    def __init__(self, window: WindowId) -> None:
        """Name the window."""
        super().__init__(
            f"the stored sums of the postings of {window} contradict each other: something other than the gateway "
            "changed them. Find out what did, then have them made anew: "
            "TRUNCATE summed_stretches, flow_sums, flow_totals"
        )
        self.window = window


class UnknownSettlementVersionError(ClearingError):
    """The window settles by a version of the settlement that this program does not have."""

    def __init__(self, version: int, known: Iterable[int]) -> None:
        """Name it, and those that there are."""
        has = ", ".join(map(str, sorted(known)))
        super().__init__(
            f"version {version} of the settlement is asked for, and this program has {has}; install one that has it"
        )
        self.version = version


class NoSuchStatementError(ClearingError):
    """The merchant was not a member when the window closed, so it has no statement for it."""

    def __init__(self, merchant: MerchantId, window: WindowId) -> None:
        """Name both."""
        super().__init__(f"{merchant} has no statement for {window}: it was not a member when the window closed")
        self.merchant = merchant
        self.window = window
