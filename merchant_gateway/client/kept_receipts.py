"""Reading a merchant's file of receipts as evidence, without changing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from clearing.contract.receipt import Receipt
from clearing.log.merkle import HASH_SIZE
from clearing.model import EntryIndex
from merchant_gateway.client.receipt_store import SCHEMA_VERSION, ReceiptStoreError

FIRST_BYTES = b"SQLite format 3\x00"
"""Of every SQLite file."""


def read_checkpoints(path: Path) -> Iterator[str]:
    """All checkpoints kept in a file of ``ReceiptStore``, as signed notes. Raises ``ReceiptStoreError``."""
    with _opened(path) as connection:
        for (note,) in connection.execute("SELECT note FROM checkpoint ORDER BY size"):
            yield note


def read_receipts(path: Path) -> Iterator[Receipt]:
    """The receipt of every entry kept in a file of ``ReceiptStore``; not verified. Raises ``ReceiptStoreError``."""
    with _opened(path) as connection:
        rows = connection.execute(
            "SELECT leaf, entry_index, inclusion_path, note FROM entry"
            " JOIN checkpoint ON size = checkpoint_size ORDER BY entry_index"
        )
        for leaf, entry_index, inclusion_path, note in rows:
            hashes = tuple(
                inclusion_path[start : start + HASH_SIZE] for start in range(0, len(inclusion_path), HASH_SIZE)
            )
            yield Receipt(leaf, EntryIndex(entry_index), hashes, note, replayed=False)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                raise ReceiptStoreError(f"{path} is not a file of receipts of this version")
            yield connection
    except sqlite3.Error as error:
        raise ReceiptStoreError(
            f"the file of receipts {path} cannot be read: {error}; copy it to a folder of your own, and with it the "
            "files beside it of the same name and -wal or -shm"
        ) from error
