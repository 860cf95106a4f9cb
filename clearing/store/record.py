"""Step 7 of a transaction's way: a decided batch becomes rows, inside the caller's database transaction."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import psycopg2
from psycopg2.extras import execute_values
from sqlalchemy import Connection

from clearing.log.tiles import TILE_WIDTH, Tile
from clearing.model import CardToken, EntryIndex, Instant, MerchantId, Outcome, Reference, WindowId
from clearing.rules.card import Card
from clearing.rules.ledger import KindCode, RecordedInstruction, RecordedTransaction
from clearing.rules.movements import Posting
from clearing.store.bulk import Prepared, array_literal, copy_entries, copy_rows, driver_cursor, execute_prepared
from clearing.store.head import Head, swap_head
from clearing.store.record_cards import expect_rows, record_cards

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one


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
    """What the postings and balances count; the alliance's."""
    transactions: Mapping[tuple[MerchantId, Reference], RecordedTransaction]
    """The last state of each transaction the batch decided, and of each earlier one of which it took something back."""
    postings: Sequence[EntryPosting]
    """In the order of the decisions."""
    cards_after: Mapping[CardToken, Card]
    """Every card that was changed, as the batch left it."""
    instruction_indexes: Sequence[EntryIndex]
    """Which of the entries are instructions."""
    instructions: Mapping[Reference, RecordedInstruction]
    """Instructions whose references were not used before."""
    window_starts: Mapping[WindowId, EntryIndex]
    """Windows that begin in this batch."""


def record_batch(connection: Connection, record: BatchRecord) -> None:
    """Write the batch. The caller commits or, on any error, rolls back.

    The head is swapped first: a fenced writer learns it before it has written anything, and a second writer that comes
    meanwhile waits for this batch only.

    Raises:
        FencedError: the head in the database is not ``old_head``.
        StoredStateError: the tables do not hold what was loaded from them.
    """
    assert connection.in_transaction(), "a batch is recorded whole or not at all"
    old_size = 0 if record.old_head is None else record.old_head.size
    with driver_cursor(connection) as cursor:
        swap_head(cursor, record.old_head, record.new_head)
        copy_entries(cursor, record.entries)
        opened = _record_transactions(cursor, record.transactions.values(), old_size)
        _record_postings(cursor, record.postings, record.unit)
        record_cards(cursor, record.unit, opened, record.postings, record.cards_after)
        _record_tiles(cursor, record.tiles)
        _record_instructions(cursor, record.instruction_indexes, record.instructions)
        starts = [f"{window}\t{first_index}" for window, first_index in record.window_starts.items()]
        copy_rows(cursor, "window_starts", ('"window"', "first_index"), starts)


_iso_date = lru_cache(maxsize=4_096)(datetime.date.isoformat)
"""Writing a date costs what the rest of a row does, and a batch has few different ones."""

_TRANSACTION_COLUMNS = (
    "entry_index", "position", "merchant", "reference", "content_digest", "card", "store", "decided_on", "kind",
    "outcome", "points", "points_available", "points_owed", "points_refunded",
)  # fmt: skip


def _record_transactions(
    cursor: Cursor, transactions: Iterable[RecordedTransaction], old_size: int
) -> dict[CardToken, EntryIndex]:
    """Write those decided in this batch, and mark what it took back of earlier ones. Returns the cards opened."""
    rows = []
    opened: dict[CardToken, EntryIndex] = {}
    changed: list[RecordedTransaction] = []
    open_card, accepted = KindCode.OPEN_CARD, Outcome.ACCEPTED
    for transaction in transactions:
        entry_index, card, kind, result = (
            transaction.entry_index,
            transaction.card,
            transaction.kind,
            transaction.result,
        )
        if entry_index < old_size:
            changed.append(transaction)
            continue
        outcome = result.outcome
        # int() of an enum's member: formatting the member itself takes five times as long.
        rows.append(
            f"{entry_index}\t{transaction.position}\t{transaction.merchant}\t{transaction.reference}"
            f"\t{transaction.content_digest.hex()}\t{card}\t{transaction.store}\t{_iso_date(transaction.decided_on)}"
            f"\t{int(kind)}\t{int(outcome)}\t{result.points}\t{result.points_available}"
            f"\t{result.points_owed}\t{transaction.points_refunded}"
        )
        if kind is open_card and outcome is accepted:
            opened[card] = entry_index
    copy_rows(cursor, "transactions", _TRANSACTION_COLUMNS, rows)
    _mark_refunded(cursor, changed)
    return opened


_MARK_REFUNDED = Prepared(
    "mark_refunded",
    "text[], text[], bigint[]",
    "UPDATE transactions SET points_refunded = changed.points_refunded"
    " FROM unnest($1, $2, $3) AS changed (merchant, reference, points_refunded)"
    " WHERE transactions.merchant = changed.merchant AND transactions.reference = changed.reference",
)


def _mark_refunded(cursor: Cursor, changed: Sequence[RecordedTransaction]) -> None:
    if changed:
        execute_prepared(
            cursor,
            _MARK_REFUNDED,
            array_literal([transaction.merchant for transaction in changed]),
            array_literal([transaction.reference for transaction in changed]),
            array_literal([str(transaction.points_refunded) for transaction in changed]),
        )
        expect_rows(cursor, len(changed), "refunded transactions")


_POSTING_COLUMNS = (
    "card", "entry_index", "position", "line", "movement", "unit", "issuer", "redeemer", "expires_on", "priced_on",
    "points",
)  # fmt: skip


def _record_postings(cursor: Cursor, postings: Sequence[EntryPosting], unit: str) -> None:
    rows = []
    line, previous_index, previous_position = 0, -1, -1
    for entry_index, position, (card, movement, issuer, redeemer, expires_on, priced_on, points) in postings:
        line = line + 1 if entry_index == previous_index and position == previous_position else 0
        previous_index, previous_position = entry_index, position
        rows.append(
            f"{card}\t{entry_index}\t{position}\t{line}\t{int(movement)}\t{unit}\t{issuer}\t{redeemer or ''}"
            f"\t{_iso_date(expires_on) if expires_on else ''}\t{_iso_date(priced_on)}\t{points}"
        )
    copy_rows(cursor, "postings", _POSTING_COLUMNS, rows)


def _record_tiles(cursor: Cursor, tiles: Sequence[Tile]) -> None:
    # The last tile of the leaves would be written anew with every batch, and follows from the entries: `read_tile`.
    lasting = [tile for tile in tiles if tile.level or tile.width == TILE_WIDTH]
    if lasting:
        execute_values(
            cursor,
            "INSERT INTO tiles (level, number, hashes) VALUES %s"
            " ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
            [(level, number, psycopg2.Binary(hashes)) for level, number, hashes in lasting],
        )


def _record_instructions(
    cursor: Cursor, indexes: Sequence[EntryIndex], instructions: Mapping[Reference, RecordedInstruction]
) -> None:
    new = {recorded.entry_index: reference for reference, recorded in instructions.items()}
    rows = [f"{index}\t\t" for index in indexes if index not in new]
    rows += [
        f"{recorded.entry_index}\t{recorded.content_digest.hex()}\t{reference}"
        for reference, recorded in instructions.items()
    ]
    copy_rows(cursor, "instructions", ("entry_index", "content_digest", "reference"), rows)
