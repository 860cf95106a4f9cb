"""Entries and proofs from the database: what the writer takes up, and what replays, auditors and merchants ask for."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy

from clearing.contract.receipt import Receipt
from clearing.deciding.batch_record import Head
from clearing.log.tile_reader import ReadTile, TileReader
from clearing.model import EntryIndex
from clearing.postgres.database_errors import LogDamagedError
from clearing.postgres.reading.log_reads import read_entries, read_entry, read_tile


def stored_tiles(connection: sqlalchemy.Connection) -> ReadTile:
    """How the stored tree's tiles are read. A tile that should be there and is not raises ``LogDamagedError``."""

    def read(level: int, number: int) -> bytes:
        hashes = read_tile(connection, level, number)
        if hashes is None:
            raise LogDamagedError(f"tile {number} of level {level} is missing from the stored log; restore a backup")
        return hashes

    return read


def tile_reader(connection: sqlalchemy.Connection) -> TileReader:
    """Roots and paths of the stored tree, at any size it has had.

    The connection is a ``snapshot``: else the last tile may become full, and be kept elsewhere, between two statements.
    """
    return TileReader(stored_tiles(connection))


def stored_leaf(connection: sqlalchemy.Connection, index: EntryIndex) -> bytes:
    """The exact bytes of an entry below the head. One that is not there raises ``LogDamagedError``."""
    entry = read_entry(connection, index)
    if entry is None:
        raise LogDamagedError(f"entry {index} is missing from the stored log; restore a backup")
    return entry.entry


def stored_receipt(connection: sqlalchemy.Connection, index: EntryIndex, head: Head) -> Receipt:
    """The receipt of an entry recorded earlier, under the head's checkpoint."""
    return stored_receipts(connection, [index], head)[index]


def stored_receipts(
    connection: sqlalchemy.Connection, indexes: Collection[EntryIndex], head: Head
) -> dict[EntryIndex, Receipt]:
    """The receipts of entries recorded earlier, with one query for all of them and one for each tile on their paths."""
    tiles = tile_reader(connection)
    leaves = {entry.entry_index: entry.entry for entry in read_entries(connection, list(indexes))}
    if missing := set(indexes) - leaves.keys():
        raise LogDamagedError(f"entry {min(missing)} is missing from the stored log; restore a backup")
    return {
        index: Receipt(leaf, index, tiles.inclusion_path(index, head.size), head.checkpoint, replayed=True)
        for index, leaf in leaves.items()
    }
