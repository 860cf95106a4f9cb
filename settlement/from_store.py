"""Settling a window from the database: its flows and its root, read, and the rest computed."""

from __future__ import annotations

import sqlalchemy

from clearing.model import EntryIndex, WindowId
from clearing.rules.directory import Directory
from clearing.store.database import snapshot
from clearing.store.ledger_reads import read_flows
from clearing.stored_log import tile_reader
from settlement.errors import WindowNotClosedError
from settlement.month_end import Settlement, settle


def settle_stored(engine: sqlalchemy.Engine, directory: Directory, window: WindowId) -> Settlement:
    """What the closed window settles to. Raises ``WindowNotClosedError`` while its range is not fixed."""
    closed = directory.closed_windows.get(window)
    if closed is None:
        raise WindowNotClosedError(window)
    entries = closed.range
    with snapshot(engine) as connection:
        before = read_flows(connection, EntryIndex(0), entries.first_index)
        during = read_flows(connection, entries.first_index, entries.end_index)
        root = tile_reader(connection).root(entries.end_index)
    return settle(directory, window, before, during, root)
