"""What an instruction is decided on, and what deciding it can come to."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from clearing.model import EntryIndex, Instant, InstructionResult, Outcome
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger, LedgerChanges

_NO_CHANGES = LedgerChanges({}, {}, ())


@dataclass(frozen=True, slots=True)
class Case:
    """The state before an instruction's entry, and the entry's place in the log."""

    directory: Directory
    ledger: Ledger
    accepted_at: Instant
    entry_index: EntryIndex
    people: frozenset[str]
    """Who signs it: the holders of the keys."""

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
