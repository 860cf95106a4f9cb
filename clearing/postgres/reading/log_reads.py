"""Reading the log: entries, tiles, and what the directory is rebuilt from at a start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, select

from clearing.deciding.batch_record import LogEntry
from clearing.log.merkle import leaf_hash
from clearing.log.tiles import TILE_WIDTH
from clearing.model import EntryIndex, Instant, WindowId
from clearing.postgres.tables import entries, instructions, tiles, window_starts

ENTRIES_PER_QUERY: Final = 256
"""An entry has at most 64 KiB, so that a chunk takes at most 16 MiB."""


def read_entry(connection: Connection, index: EntryIndex) -> LogEntry | None:
    """One entry; None if the log does not reach so far."""
    return next(iter(read_entries(connection, [index])), None)


def read_entries(connection: Connection, indexes: Sequence[EntryIndex]) -> list[LogEntry]:
    """The entries with these indexes, in the order of the log; those that do not exist are left out."""
    return _read(connection, entries.c.index.in_(indexes))


def stream_entries(
    connection: Connection, first_index: int, end_index: int, *, chunk: int = ENTRIES_PER_QUERY
) -> Iterator[LogEntry]:
    """Entries from ``first_index`` up to, not including, ``end_index``, a chunk a query; ends where the log ends."""
    for start in range(first_index, end_index, chunk):
        end = min(start + chunk, end_index)
        found = _read(connection, (entries.c.index >= start) & (entries.c.index < end))
        yield from found
        if len(found) < end - start:
            return


def stream_instructions(connection: Connection, *, chunk: int = ENTRIES_PER_QUERY) -> Iterator[LogEntry]:
    """The entries that are instructions, in the order of the log, a chunk a query."""
    after = -1
    while True:
        following = connection.scalars(
            select(instructions.c.entry_index)
            .where(instructions.c.entry_index > after)
            .order_by(instructions.c.entry_index)
            .limit(chunk)
        ).all()
        if not following:
            return
        yield from read_entries(connection, [EntryIndex(index) for index in following])
        after = following[-1]


def read_tile(connection: Connection, level: int, number: int) -> bytes | None:
    """The hashes of a tile as far as it has grown; None if it does not exist."""
    hashes = connection.scalar(select(tiles.c.hashes).where(tiles.c.level == level, tiles.c.number == number))
    if hashes is not None:
        return bytes(hashes)
    return _read_last_leaf_tile(connection, number) if level == 0 else None


def _read_last_leaf_tile(connection: Connection, number: int) -> bytes | None:
    """The last tile of level 0, which is not stored before it is full, from the entries themselves."""
    first_index = number * TILE_WIDTH
    leaves = [entry.entry for entry in stream_entries(connection, first_index, first_index + TILE_WIDTH)]
    return b"".join(map(leaf_hash, leaves)) if 0 < len(leaves) < TILE_WIDTH else None


def read_window_starts(connection: Connection) -> dict[WindowId, EntryIndex]:
    """For each window that has entries, the index of its first; in the order of the windows."""
    rows = connection.execute(
        select(window_starts.c.window, window_starts.c.first_index).order_by(window_starts.c.window)
    )
    return {WindowId(window): EntryIndex(first_index) for window, first_index in rows}


def _read(connection: Connection, condition: ColumnElement[bool]) -> list[LogEntry]:
    rows = connection.execute(
        select(entries.c.index, entries.c.accepted_at, entries.c.entry).where(condition).order_by(entries.c.index)
    )
    return [LogEntry(EntryIndex(index), Instant(accepted_at), bytes(entry)) for index, accepted_at, entry in rows]
