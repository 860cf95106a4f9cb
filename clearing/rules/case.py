"""What an instruction is decided on, and what deciding it can come to."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from clearing.errors import ErrorReason, Rejection
from clearing.model import EntryIndex, Instant, InstructionResult, Outcome, ProposeSettlement, WindowId
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger, LedgerChanges

NOT_READY_DELAY_MS = 500
_NO_CHANGES = LedgerChanges({}, {}, ())


SettlementOf = Callable[[WindowId], ProposeSettlement]
"""What a closed window settles to, in the words of a proposal; a proposal or an approval that says anything else is
refused. Raises ``Rejection`` with SETTLEMENT_NOT_READY while it is not computed: then nothing is decided."""


def no_settlement(window: WindowId) -> ProposeSettlement:
    """The ``SettlementOf`` of somebody who settles nothing, or not yet. Raises ``Rejection``."""
    raise Rejection(
        ErrorReason.SETTLEMENT_NOT_READY,
        f"what {window} settles to is not computed yet; send again after the delay in RetryInfo",
        retry_delay_ms=NOT_READY_DELAY_MS,
    )


@dataclass(frozen=True, slots=True)
class Case:
    """The state before an instruction's entry, and the entry's place in the log."""

    directory: Directory
    ledger: Ledger
    accepted_at: Instant
    entry_index: EntryIndex
    people: frozenset[str]
    """Who signs it: the holders of the keys."""
    settlement_of: SettlementOf = no_settlement

    @property
    def today(self) -> datetime.date:
        """The alliance's local day of the entry."""
        return self.directory.local_date(self.accepted_at)


@dataclass(frozen=True, slots=True)
class InstructionDecision:
    """A new entry's outcome, the directory after it, and what it changes on cards."""

    result: InstructionResult
    directory: Directory
    changes: LedgerChanges = _NO_CHANGES


Ruling = Directory | Outcome | InstructionDecision
"""What an action comes to: the directory after it, the outcome that refuses it, or more than either says."""
