"""Receipts kept in a file (SQLite): the merchant's own evidence, independent of the alliance's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clearing.closing import Closing
from clearing.contract.receipt import Receipt
from clearing.errors import ClearingError
from clearing.log.checkpoint import Checkpoint
from clearing.log.merkle import HASH_SIZE
from clearing.log.note import Verifier
from clearing.model import EntryIndex, MerchantId, Reference
from merchant_gateway.client.receipt_check import ForkedLogError
from merchant_gateway.client.sqlite_file import SqliteFile, is_error
from merchant_gateway.client.transaction_receipt import TransactionReceipt, check_recorded

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE log (
    verifier TEXT NOT NULL
) STRICT;
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note TEXT NOT NULL
) STRICT;
CREATE TABLE entry (
    entry_index INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    inclusion_path BLOB NOT NULL,
    checkpoint_size INTEGER NOT NULL REFERENCES checkpoint
) STRICT;
CREATE TABLE place (
    merchant TEXT NOT NULL,
    reference TEXT NOT NULL,
    entry_index INTEGER NOT NULL REFERENCES entry,
    position INTEGER NOT NULL,
    PRIMARY KEY (merchant, reference)
) STRICT, WITHOUT ROWID;
"""


class ReceiptStoreError(ClearingError):
    """The file cannot be used."""


class ReceiptStore(Closing):
    """One row an entry, one a reference, one a checkpoint. Any thread may use it.

    Rows are durable against a crash of the program at once, against a power cut shortly after; a lost receipt can be
    had again from the gateway.
    """

    def __init__(self, path: Path, verifier: Verifier) -> None:
        """Open the file, or make it, for receipts of the log of this key.

        Raises ``ReceiptStoreError`` if the file is something else or belongs to another log.
        """
        self._path = path
        self._verifier = verifier
        with self._translated_errors():
            self._file = SqliteFile(path, ("synchronous = NORMAL", "foreign_keys = ON"))
        try:
            self._prepare()
        except ClearingError:
            self.close()
            raise

    def keep(self, receipts: Iterable[tuple[Checkpoint, TransactionReceipt]]) -> None:
        """Keep verified receipts, each with its checkpoint. What is there already stays as it is.

        Raises ``ForkedLogError`` if the alliance signed something else for the same place before.
        """
        with self._writing() as cursor:
            for checkpoint, transaction in receipts:
                receipt = transaction.receipt
                self._keep_checkpoint(cursor, checkpoint, receipt.checkpoint)
                self._keep_entry(cursor, checkpoint, receipt)
                cursor.execute(
                    "INSERT OR IGNORE INTO place VALUES (?, ?, ?, ?)",
                    (transaction.merchant, transaction.reference, receipt.index, transaction.position),
                )

    def find(self, merchant: MerchantId, reference: Reference) -> TransactionReceipt | None:
        """The receipt of a merchant's transaction, verified again; None if it is not kept here."""
        with self._reading() as cursor:
            row = cursor.execute(
                "SELECT entry_index, position, leaf, inclusion_path, note FROM place"
                " JOIN entry USING (entry_index) JOIN checkpoint ON size = checkpoint_size"
                " WHERE merchant = ? AND reference = ?",
                (merchant, reference),
            ).fetchone()
        if row is None:
            return None
        entry_index, position, leaf, path, note = row
        hashes = tuple(path[start : start + HASH_SIZE] for start in range(0, len(path), HASH_SIZE))
        receipt = Receipt(leaf, EntryIndex(entry_index), hashes, note, replayed=False)
        return check_recorded(merchant, reference, receipt, position, self._verifier)[1]

    def newest_checkpoint(self) -> str | None:
        """The largest checkpoint kept, as its signed note."""
        with self._reading() as cursor:
            row = cursor.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        return str(row[0]) if row is not None else None

    def count(self) -> int:
        """For how many references a receipt is kept."""
        with self._reading() as cursor:
            return int(cursor.execute("SELECT count(*) FROM place").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _prepare(self) -> None:
        with self._writing() as cursor:
            version = cursor.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not cursor.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                for statement in _SCHEMA.split(";")[:-1]:
                    cursor.execute(statement)
                cursor.execute("INSERT INTO log VALUES (?)", (self._verifier.vkey,))
                cursor.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise ReceiptStoreError(f"{self._path} is not a file of receipts of this version; choose another name")
            (vkey,) = cursor.execute("SELECT verifier FROM log").fetchone()
        if vkey != self._verifier.vkey:
            raise ReceiptStoreError(
                f"{self._path} keeps receipts of the log {vkey}, and this is {self._verifier.vkey}; one file a log"
            )

    @staticmethod
    def _keep_checkpoint(cursor: sqlite3.Cursor, checkpoint: Checkpoint, note: str) -> None:
        cursor.execute("INSERT OR IGNORE INTO checkpoint VALUES (?, ?, ?)", (checkpoint.size, checkpoint.root, note))
        if cursor.rowcount == 0:
            kept = cursor.execute("SELECT root, note FROM checkpoint WHERE size = ?", (checkpoint.size,)).fetchone()
            if kept[0] != checkpoint.root:
                raise ForkedLogError(f"the alliance signed two logs of {checkpoint.size:,} entries", kept[1], note)

    @staticmethod
    def _keep_entry(cursor: sqlite3.Cursor, checkpoint: Checkpoint, receipt: Receipt) -> None:
        path = b"".join(receipt.inclusion_path)
        cursor.execute(
            "INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?)", (receipt.index, receipt.leaf, path, checkpoint.size)
        )
        if cursor.rowcount == 0:
            kept = cursor.execute(
                "SELECT leaf, note FROM entry JOIN checkpoint ON size = checkpoint_size WHERE entry_index = ?",
                (receipt.index,),
            ).fetchone()
            if kept[0] != receipt.leaf:
                raise ForkedLogError(
                    f"the alliance signed for two different entries {receipt.index:,}", kept[1], receipt.checkpoint
                )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        with self._translated_errors(), self._file.writing() as cursor:
            yield cursor

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Cursor]:
        with self._translated_errors(), self._file.reading() as cursor:
            yield cursor

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            # OverflowError: an index beyond SQLite's integers, which no real log reaches.
            if is_error(error, sqlite3.SQLITE_FULL):
                raise ReceiptStoreError(
                    f"there is no room to keep receipts in {self._path}: {error}; free space, then send the same "
                    "again: what was decided is answered with the same receipts"
                ) from error
            raise ReceiptStoreError(
                f"the file of receipts {self._path} cannot be used: {error}; check that it is one, the disk, and who "
                "may write there"
            ) from error
