"""Step 7 of a transaction's way: a decided batch becomes rows, by statements to be executed in one transaction."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from clearing.deciding.batch_record import BatchRecord, EntryPosting
from clearing.log.tiles import TILE_WIDTH, Tile
from clearing.model import EntryIndex, InstructionKey, Outcome, TransactionKind
from clearing.postgres.bulk import Prepared, array_literal, copy_of_entries, copy_of_rows
from clearing.postgres.head import swap_of_heads
from clearing.postgres.reading.load import lots_text
from clearing.postgres.sql import Execution, Statement
from clearing.postgres.writing.record_cards import changes_of_cards
from clearing.rules.ledger import RecordedInstruction, RecordedTransaction


def statements_of(record: BatchRecord) -> Iterator[Statement]:
    """What writes the batch, in order.

    Executing it raises ``FencedError`` where the head in the database is not ``old_head``, and ``LogDamagedError``
    where the tables do not hold what was loaded from them. The head is swapped first: a fenced writer learns it before
    it has written anything, and a second writer that comes meanwhile waits for this batch only.
    """
    old_size = 0 if record.old_head is None else record.old_head.size
    yield swap_of_heads(record.old_head, record.new_head)
    yield copy_of_entries(record.entries)
    new = [each for each in record.transactions.values() if each.entry_index >= old_size]
    if new:
        yield copy_of_rows("transactions", _TRANSACTION_COLUMNS, list(map(_transaction_row, new)))
    if len(new) < len(record.transactions):
        yield _mark_refunded([each for each in record.transactions.values() if each.entry_index < old_size])
    if record.postings:
        yield copy_of_rows("postings", _POSTING_COLUMNS, _posting_rows(record.postings))
    open_card, accepted = TransactionKind.OPEN_CARD, Outcome.ACCEPTED
    opened = {each.card: each.entry_index for each in new if each.kind is open_card and each.result.outcome is accepted}
    yield from changes_of_cards(record.unit, opened, record.postings, record.cards_after)
    # The last tile of the leaves would be written anew with every batch, and follows from the entries: `read_tile`.
    tiles = [tile for tile in record.tiles if tile.level or tile.width == TILE_WIDTH]
    if tiles:
        yield _replace_tiles(tiles)
    if record.instruction_indexes:
        rows = _instruction_rows(record.instruction_indexes, record.instructions)
        yield copy_of_rows("instructions", ("entry_index", "content_digest", "merchant", "reference"), rows)
    if record.window_starts:
        rows = [f"{window}\t{first_index}" for window, first_index in record.window_starts.items()]
        yield copy_of_rows("window_starts", ('"window"', "first_index"), rows)


_iso_date = lru_cache(maxsize=4_096)(datetime.date.isoformat)
"""Writing a date costs what the rest of a row does, and a batch has few different ones."""

_TRANSACTION_COLUMNS = (
    "entry_index", "position", "merchant", "reference", "content_digest", "card", "store", "decided_on", "kind",
    "outcome", "points", "points_available", "points_owed", "points_refunded", "lots",
)  # fmt: skip


def _transaction_row(transaction: RecordedTransaction) -> str:
    result = transaction.result
    # int() of an enum's member: formatting the member itself takes five times as long.
    return (
        f"{transaction.entry_index}\t{transaction.position}\t{transaction.merchant}\t{transaction.reference}"
        f"\t{transaction.content_digest.hex()}\t{transaction.card}\t{transaction.store}"
        f"\t{_iso_date(transaction.decided_on)}\t{int(transaction.kind)}\t{int(result.outcome)}\t{result.points}"
        f"\t{result.points_available}\t{result.points_owed}\t{transaction.points_refunded}"
        f"\t{lots_text(transaction.lots)}"
    )


_MARK_REFUNDED = Prepared(
    "mark_refunded",
    "text[], text[], bigint[]",
    "UPDATE transactions SET points_refunded = changed.points_refunded"
    " FROM unnest($1, $2, $3) AS changed (merchant, reference, points_refunded)"
    " WHERE transactions.merchant = changed.merchant AND transactions.reference = changed.reference",
)


def _mark_refunded(changed: Sequence[RecordedTransaction]) -> Execution:
    parameters = (
        array_literal([transaction.merchant for transaction in changed]),
        array_literal([transaction.reference for transaction in changed]),
        array_literal([str(transaction.points_refunded) for transaction in changed]),
    )
    return Execution(_MARK_REFUNDED, parameters, len(changed), "refunded transactions")


_POSTING_COLUMNS = (
    "card", "entry_index", "position", "line", "movement", "unit", "issuer", "redeemer", "expires_on", "issued_in",
    "points",
)  # fmt: skip


def _posting_rows(postings: Sequence[EntryPosting]) -> list[str]:
    rows = []
    line, previous_index, previous_position = 0, -1, -1
    for entry_index, position, (card, movement, issuer, redeemer, expires_on, issued_in, points, unit) in postings:
        line = line + 1 if entry_index == previous_index and position == previous_position else 0
        previous_index, previous_position = entry_index, position
        rows.append(
            f"{card}\t{entry_index}\t{position}\t{line}\t{int(movement)}\t{unit}\t{issuer}\t{redeemer or ''}"
            f"\t{_iso_date(expires_on) if expires_on else ''}\t{_iso_date(issued_in)}\t{points}"
        )
    return rows


_REPLACE_TILES = Prepared(
    "replace_tiles",
    "smallint[], bigint[], bytea[]",
    "INSERT INTO tiles (level, number, hashes) SELECT * FROM unnest($1, $2, $3)"
    " ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
)


def _replace_tiles(tiles: Sequence[Tile]) -> Execution:
    columns = (
        array_literal([str(tile.level) for tile in tiles]),
        array_literal([str(tile.number) for tile in tiles]),
        array_literal([f"\\x{tile.hashes.hex()}" for tile in tiles]),
    )
    return Execution(_REPLACE_TILES, columns, len(tiles), "tiles")


def _instruction_rows(
    indexes: Sequence[EntryIndex], instructions: Mapping[InstructionKey, RecordedInstruction]
) -> list[str]:
    new = {recorded.entry_index for recorded in instructions.values()}
    rows = [f"{index}\t\t\t" for index in indexes if index not in new]
    rows += [
        f"{recorded.entry_index}\t{recorded.content_digest.hex()}\t{merchant or ''}\t{reference}"
        for (merchant, reference), recorded in instructions.items()
    ]
    return rows
