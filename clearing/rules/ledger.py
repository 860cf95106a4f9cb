"""The ledger's state as the rules see it: cards, and what was decided under each reference.

The writer fills one with what a batch needs; the auditor's replay keeps one for the whole log, which of the references
has only those that can still be taken back.
"""

from __future__ import annotations

import datetime
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import NamedTuple

from clearing.model import (
    CardToken,
    EntryIndex,
    InstructionKey,
    MerchantId,
    Points,
    Reference,
    StoreId,
    TransactionKind,
    TransactionResult,
)
from clearing.rules.card import Card, Taken
from clearing.rules.movements import Posting


class RecordedTransaction(NamedTuple):
    """A decided transaction, as later replays and refunds need it."""

    entry_index: EntryIndex
    position: int
    """Its place in the presentment, from 0."""
    merchant: MerchantId
    reference: Reference
    content_digest: bytes
    kind: TransactionKind
    card: CardToken
    store: StoreId
    result: TransactionResult
    decided_on: datetime.date
    """The local day of the decision."""
    points_refunded: Points = Points(0)
    """How much of it has been taken back since."""
    lots: tuple[Taken, ...] = ()
    """Of a burn: what each lot gave, in the order it was taken. Of an earn: the lot it went into, unless all of it
    repaid debts. Nobody computes them again: the constitution may have been amended since."""


@dataclass(frozen=True, slots=True)
class RecordedInstruction:
    """A decided instruction, as a repeated one needs it."""

    entry_index: EntryIndex
    content_digest: bytes


@dataclass(slots=True)
class Ledger:
    """Cards and recorded references. Decisions read it; ``apply`` folds what they decided into it."""

    cards: dict[CardToken, Card] = field(default_factory=dict)
    transactions: MutableMapping[tuple[MerchantId, Reference], RecordedTransaction] = field(default_factory=dict)
    instructions: dict[InstructionKey, RecordedInstruction] = field(default_factory=dict)

    def apply(self, changes: LedgerChanges) -> None:
        """Make a decision's changes the state that the next decision sees."""
        self.cards.update(changes.cards)
        self.transactions.update(changes.transactions)


class LedgerChanges(NamedTuple):
    """What a decision changes: whole new values of the cards and references it touched, and its postings."""

    cards: dict[CardToken, Card]
    transactions: dict[tuple[MerchantId, Reference], RecordedTransaction]
    """New ones, and originals of which something was taken back."""
    postings: tuple[tuple[int, Posting], ...]
    """Each with the position, in the presentment, of the transaction that it belongs to."""
