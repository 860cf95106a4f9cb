"""The outbox's file: SQLite, durable against a power cut from the moment a sale is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clearing.contract.log_identity import LogIdentity
from clearing.errors import ClearingError
from clearing.model import MerchantId
from merchant_gateway.client.sqlite_file import SqliteFile, is_error

APPLICATION_ID = 0x6F757462
""""outb", in the file's header: tells it from SQLite files of other kinds."""
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE outbox (
    origin TEXT NOT NULL,
    log_id BLOB NOT NULL,
    merchant TEXT NOT NULL,
    late_presentment_days INTEGER
) STRICT;
CREATE TABLE sale (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL UNIQUE,
    content_digest BLOB NOT NULL,
    occurred_at INTEGER NOT NULL,
    points_burned INTEGER NOT NULL,
    is_withdrawn INTEGER NOT NULL,
    state INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    receipt BLOB,
    position INTEGER,
    reason TEXT
) STRICT;
CREATE INDEX sale_of_state ON sale (state);
CREATE INDEX sale_age ON sale (state, occurred_at);
CREATE INDEX sale_burn ON sale (state, points_burned) WHERE points_burned > 0;
"""


class OutboxError(ClearingError):
    """The outbox's file cannot be used."""


class OutboxFullError(OutboxError):
    """There is no room to write in."""


class OutboxDamagedError(OutboxError):
    """The file holds something else than what was written to it."""


class OutboxFile:
    """One file for one merchant and one log of an alliance: nothing in it is presented to another.

    Any thread may use it; each process opens it for itself.
    """

    def __init__(self, path: Path, log: LogIdentity, merchant: MerchantId) -> None:
        """Open the file, or make it. Raises ``OutboxError`` if it is damaged, something else or somebody else's."""
        self.path = path
        self._log = log
        self._merchant = merchant
        with self._translated_errors():
            # Each commit waits for the disk; on macOS that takes more than an ordinary fsync.
            self._file = SqliteFile(path, ("synchronous = FULL", "fullfsync = ON"))
        try:
            self._prepare()
        except ClearingError:
            self.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """A transaction: when the block is left, all of it is on the disk, or none.

        Raises ``OutboxError``, ``OutboxFullError`` or ``OutboxDamagedError``.
        """
        with self._translated_errors(), self._file.writing() as cursor:
            yield cursor

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """One view of the file. Raises ``OutboxError`` or ``OutboxDamagedError``."""
        with self._translated_errors(), self._file.reading() as cursor:
            yield cursor

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _prepare(self) -> None:
        with self.writing() as cursor:
            kind = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
            if kind == [0, 0] and not cursor.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                for statement in _SCHEMA.split(";")[:-1]:
                    cursor.execute(statement)
                cursor.execute("INSERT INTO outbox VALUES (?, ?, ?, NULL)", self._owner())
                cursor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                cursor.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif kind != [APPLICATION_ID, SCHEMA_VERSION]:
                raise OutboxError(f"{self.path} is not an outbox of this version; choose another name")
        with self.reading() as cursor:
            # Now, not in the middle of a sale.
            (finding,) = cursor.execute("PRAGMA quick_check(1)").fetchone()
            if finding != "ok":
                raise self._damaged(finding.splitlines()[-1])
            owner = cursor.execute("SELECT origin, log_id, merchant FROM outbox").fetchone()
        if owner != self._owner():
            origin, log_id, merchant = owner
            raise OutboxError(
                f"{self.path} holds sales of {merchant} for the log {log_id.hex()} of {origin}, and this is "
                f"{self._merchant} for {self._log.log_id.hex()} of {self._log.origin}; one file a merchant and log"
            )

    def _owner(self) -> tuple[str, bytes, str]:
        """Whose sales are in the file."""
        return self._log.origin, self._log.log_id, self._merchant

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if is_error(error, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged(str(error)) from error
            if is_error(error, sqlite3.SQLITE_FULL):
                raise OutboxFullError(
                    f"there is no room to write to the outbox {self.path}: {error}; nothing was recorded: free space, "
                    "then do the same again under the same reference"
                ) from error
            raise OutboxError(
                f"the outbox {self.path} cannot be used: {error}; check the disk, its limits and who may write there, "
                "then do the same again under the same reference"
            ) from error

    def _damaged(self, finding: str) -> OutboxDamagedError:
        return OutboxDamagedError(
            f"the outbox {self.path} is damaged: {finding}; keep it, since it may hold sales that were not sent yet, "
            "go on with a new file, and compare with the till's own books"
        )
