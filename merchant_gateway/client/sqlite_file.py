"""A SQLite file that several threads and processes open, read and write at the same time."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUSY_SECONDS = 10.0
"""How long anything waits for the other programs, which hold the file for the moment of a write only."""
SWITCH_POLL_SECONDS = 0.02

_PRIMARY_CODE = 0xFF
_random = secrets.SystemRandom()


class SqliteFile:
    """One connection with a write-ahead log, for all threads of a process. Every method raises ``sqlite3.Error``."""

    def __init__(self, path: Path, settings: Sequence[str]) -> None:
        """Open the file, or make it; ``settings`` are pragmas, as ``name = value``."""
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            self._switch_to_write_ahead()
            for setting in settings:
                self._connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            self._connection.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """A transaction: when the block is left, all of it is written, or none."""
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            finally:
                self._roll_back_what_is_open(cursor)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """One view of the file, whatever others write meanwhile."""
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN")
            try:
                yield cursor
            finally:
                self._roll_back_what_is_open(cursor)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _switch_to_write_ahead(self) -> None:
        # SQLite does not wait here by itself: of several that open a new file at once, all but one hear that it is
        # busy. A file that was switched before stays so, and then this asks for nothing.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
            except sqlite3.OperationalError as error:
                if not is_error(error, sqlite3.SQLITE_BUSY) or time.monotonic() >= deadline:
                    raise
                time.sleep(_random.uniform(0, SWITCH_POLL_SECONDS))
            else:
                return

    def _roll_back_what_is_open(self, cursor: sqlite3.Cursor) -> None:
        # A COMMIT that finds no room leaves its transaction open; after some other errors SQLite has closed it itself.
        if self._connection.in_transaction:
            cursor.execute("ROLLBACK")


def is_error(error: BaseException, *codes: int) -> bool:
    """Whether SQLite gave one of these primary result codes."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE in codes
