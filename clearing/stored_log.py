"""Entries and proofs from the database: what the writer takes up, and what replays, auditors and merchants ask for."""

from __future__ import annotations

import sqlalchemy

from clearing.errors import ClearingError
from clearing.log.tile_reader import ReadTile, TileReader
from clearing.model import EntryIndex
from clearing.receipt import Receipt
from clearing.store.head import Head
from clearing.store.log_reads import read_entry, read_tile


class LogDamagedError(ClearingError):
    """The stored log does not agree with itself."""


def stored_tiles(connection: sqlalchemy.Connection) -> ReadTile:
    """How the stored tree's tiles are read. A tile that should be there and is not raises ``LogDamagedError``."""

    def read(level: int, number: int) -> bytes:
        hashes = read_tile(connection, level, number)
        if hashes is None:
            raise LogDamagedError(f"tile {number} of level {level} is missing from the stored log; restore a backup")
        return hashes

    return read


def tile_reader(connection: sqlalchemy.Connection) -> TileReader:
    """Roots and paths of the stored tree, at any size it has had."""
    return TileReader(stored_tiles(connection))


def stored_leaf(connection: sqlalchemy.Connection, index: EntryIndex) -> bytes:
    """The exact bytes of an entry below the head. One that is not there raises ``LogDamagedError``."""
    entry = read_entry(connection, index)
    if entry is None:
        raise LogDamagedError(f"entry {index} is missing from the stored log; restore a backup")
    return entry.entry


def stored_receipt(connection: sqlalchemy.Connection, index: EntryIndex, head: Head) -> Receipt:
    """The receipt of an entry recorded earlier, under the head's checkpoint."""
    path = tuple(tile_reader(connection).inclusion_path(index, head.size))
    return Receipt(stored_leaf(connection, index), index, path, head.checkpoint, replayed=True)
