"""What a decided batch adds to the log and to what is kept beside it: what the writer hands to the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clearing.log.tiles import Tile
from clearing.model import CardToken, EntryIndex, Instant, InstructionKey, MerchantId, Reference, WindowId
from clearing.rules.card import Card
from clearing.rules.ledger import RecordedInstruction, RecordedTransaction
from clearing.rules.movements import Posting


@dataclass(frozen=True, slots=True)
class Head:
    """The newest committed state of the log."""

    size: int
    """Number of entries."""
    root: bytes
    """Root of the tree of all entries."""
    accepted_at: Instant
    """Of the last entry."""
    checkpoint: str
    """The signed note over size and root."""


class LogEntry(NamedTuple):
    """One leaf of the log."""

    entry_index: EntryIndex
    accepted_at: Instant
    entry: bytes
    """The leaf's exact bytes: a serialised ``clearing.v1.Entry``."""


class EntryPosting(NamedTuple):
    """A posting and the transaction that it belongs to."""

    entry_index: EntryIndex
    position: int
    posting: Posting


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """Everything that one batch adds to the tables and changes in them."""

    old_head: Head | None
    """What the batch was decided upon; None for an empty log."""
    new_head: Head
    entries: Sequence[LogEntry]
    tiles: Sequence[Tile]
    """New and grown ones."""
    unit: str
    """What the balances of new cards count; the alliance's."""
    transactions: Mapping[tuple[MerchantId, Reference], RecordedTransaction]
    """The last state of each transaction the batch decided, and of each earlier one of which it took something back."""
    postings: Sequence[EntryPosting]
    """In the order of the decisions."""
    cards_after: Mapping[CardToken, Card]
    """Every card that was changed, as the batch left it."""
    instruction_indexes: Sequence[EntryIndex]
    """Which of the entries are instructions."""
    instructions: Mapping[InstructionKey, RecordedInstruction]
    """Instructions whose references were not used before."""
    window_starts: Mapping[WindowId, EntryIndex]
    """Windows that begin in this batch."""
