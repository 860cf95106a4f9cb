"""Step 7 of a transaction's way: a decided batch becomes rows, inside the caller's database transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import psycopg2
from psycopg2.extras import execute_values
from sqlalchemy import Connection

from clearing.log.tiles import Tile
from clearing.model import CardToken, EntryIndex, Instant, MerchantId, Outcome, Reference, WindowId
from clearing.rules.card import Card
from clearing.rules.ledger import KindCode, RecordedInstruction, RecordedTransaction
from clearing.rules.movements import Posting
from clearing.store.bulk import PROBE_INDEXES, array_literal, copy_entries, copy_rows, driver_cursor
from clearing.store.head import Head, swap_head
from clearing.store.record_balances import expect_rows, record_balances
from clearing.store.references import OF_INSTRUCTIONS, reference_key

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
    cards_before: Mapping[CardToken, Card]
    """As loaded: what the tables hold of ``cards_after``."""
    cards_after: Mapping[CardToken, Card]
    """Every card that was touched."""
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
    transactions = record.transactions.values()
    decided = [transaction for transaction in transactions if transaction.entry_index >= old_size]
    changed = [transaction for transaction in transactions if transaction.entry_index < old_size]
    with driver_cursor(connection) as cursor:
        swap_head(cursor, record.old_head, record.new_head)
        copy_entries(cursor, record.entries)
        _record_references(cursor, decided, record.instructions)
        _record_transactions(cursor, decided)
        _record_points_refunded(cursor, changed)
        _record_postings(cursor, record.postings, record.unit)
        record_balances(cursor, record.unit, record.cards_before, record.cards_after)
        _record_tiles(cursor, record.tiles)
        copy_rows(cursor, "instructions", ("entry_index",), [str(index) for index in record.instruction_indexes])
        starts = [f"{window}\t{first_index}" for window, first_index in record.window_starts.items()]
        copy_rows(cursor, "window_starts", ('"window"', "first_index"), starts)


def _record_references(
    cursor: Cursor, decided: Sequence[RecordedTransaction], instructions: Mapping[Reference, RecordedInstruction]
) -> None:
    rows = [
        f"{reference_key(transaction.merchant, transaction.reference)}\t{transaction.content_digest.hex()}"
        f"\t{transaction.entry_index}\t{transaction.position}"
        for transaction in decided
    ]
    rows += [
        f"{reference_key(OF_INSTRUCTIONS, reference)}\t{recorded.content_digest.hex()}\t{recorded.entry_index}\t0"
        for reference, recorded in instructions.items()
    ]
    columns = ("reference_key", "content_digest", "entry_index", "position")
    copy_rows(cursor, "transaction_references", columns, rows)


_TRANSACTION_COLUMNS = (
    "card", "entry_index", "position", "merchant", "reference", "kind", "store", "outcome",
    "points", "points_available", "points_owed", "points_refunded", "decided_on",
)  # fmt: skip


def _record_transactions(cursor: Cursor, decided: Sequence[RecordedTransaction]) -> None:
    rows = []
    opened = []
    for transaction in decided:
        result = transaction.result
        rows.append(
            f"{transaction.card}\t{transaction.entry_index}\t{transaction.position}\t{transaction.merchant}"
            f"\t{transaction.reference}\t{transaction.kind:d}\t{transaction.store}\t{result.outcome:d}\t{result.points}"
            f"\t{result.points_available}\t{result.points_owed}\t{transaction.points_refunded}\t{transaction.decided_on}"
        )
        if transaction.kind is KindCode.OPEN_CARD and result.outcome is Outcome.ACCEPTED:
            opened.append(f"{transaction.card}\t{transaction.entry_index}")
    copy_rows(cursor, "transactions", _TRANSACTION_COLUMNS, rows)
    copy_rows(cursor, "cards", ("card", "opened_at_index"), opened)


def _record_points_refunded(cursor: Cursor, changed: Sequence[RecordedTransaction]) -> None:
    if not changed:
        return
    cursor.execute(
        f"{PROBE_INDEXES} UPDATE transactions SET points_refunded = changed.points_refunded"  # noqa: S608 - a constant
        " FROM unnest(%s::text[], %s::bigint[], %s::smallint[], %s::bigint[])"
        " AS changed (card, entry_index, position, points_refunded)"
        " WHERE transactions.card = changed.card AND transactions.entry_index = changed.entry_index"
        " AND transactions.position = changed.position",
        (
            array_literal([transaction.card for transaction in changed]),
            array_literal([str(transaction.entry_index) for transaction in changed]),
            array_literal([str(transaction.position) for transaction in changed]),
            array_literal([str(transaction.points_refunded) for transaction in changed]),
        ),
    )
    expect_rows(cursor, len(changed), "refunded transactions")


_POSTING_COLUMNS = (
    "card", "entry_index", "position", "line", "movement", "unit", "issuer", "redeemer", "expires_on", "priced_on",
    "points",
)  # fmt: skip


def _record_postings(cursor: Cursor, postings: Sequence[EntryPosting], unit: str) -> None:
    rows = []
    line, previous_index, previous_position = 0, -1, -1
    for entry_index, position, posting in postings:
        line = line + 1 if entry_index == previous_index and position == previous_position else 0
        previous_index, previous_position = entry_index, position
        card, movement, issuer, redeemer, expires_on, priced_on, points = posting
        rows.append(
            f"{card}\t{entry_index}\t{position}\t{line}\t{movement:d}\t{unit}\t{issuer}\t{redeemer or ''}"
            f"\t{expires_on or ''}\t{priced_on}\t{points}"
        )
    copy_rows(cursor, "postings", _POSTING_COLUMNS, rows)


def _record_tiles(cursor: Cursor, tiles: Sequence[Tile]) -> None:
    if tiles:
        execute_values(
            cursor,
            "INSERT INTO tiles (level, number, hashes) VALUES %s"
            " ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
            [(level, number, psycopg2.Binary(hashes)) for level, number, hashes in tiles],
        )
