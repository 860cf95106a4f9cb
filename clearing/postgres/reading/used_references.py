"""Which references were used, from memory: most of a batch's are new, and asking the database costs more than the rest.

A Bloom filter (B. H. Bloom, Space/time trade-offs in hash coding with allowable errors, CACM 13/7, 1970): it may take a
new reference for a used one, which then is looked up in vain, and never a used one for a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import Engine

from clearing.postgres.database import snapshot
from clearing.postgres.database_errors import DatabaseUnavailableError
from clearing.postgres.reading.ledger_reads import stream_references
from clearing.postgres.reading.load import TransactionKey

BITS: Final = 1 << 28
"""32 MiB. With ten million references in it, one new one in two hundred is looked up; with a hundred, one in four."""
_FIRST: Final = BITS - 1
_SECOND_SHIFT: Final = 32

RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.002
"""Between two chunks, for those who have more pressing work."""


class UsedReferences:
    """The references of all recorded transactions, and perhaps of some that were not recorded after all."""

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)
        self._lock = threading.Lock()
        """Setting a bit reads and writes its byte."""
        self.is_complete = False
        """Whether those of earlier writers are in it. Until then any reference may have been used."""

    def add(self, keys: Iterable[TransactionKey]) -> None:
        """Take these for used."""
        bits = self._bits
        with self._lock:
            for key in keys:
                mixed = hash(key)
                first, second = mixed & _FIRST, (mixed >> _SECOND_SHIFT) & _FIRST
                bits[first >> 3] |= 1 << (first & 7)
                bits[second >> 3] |= 1 << (second & 7)

    def may_be_used(self, keys: Collection[TransactionKey]) -> Collection[TransactionKey]:
        """Those of the references that may have been used; all others certainly were not."""
        if not self.is_complete:
            return keys
        bits = self._bits
        found = []
        for key in keys:
            mixed = hash(key)
            first = mixed & _FIRST
            if bits[first >> 3] >> (first & 7) & 1:
                second = (mixed >> _SECOND_SHIFT) & _FIRST
                if bits[second >> 3] >> (second & 7) & 1:
                    found.append(key)
        return found


class ReferenceReader:
    """Reads the references of all transactions in the database into ``used``, on a thread of its own.

    Whoever records transactions meanwhile adds theirs.
    """

    def __init__(self, engine: Engine) -> None:
        """Start."""
        self.used = UsedReferences()
        self._engine = engine
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reference reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it end soon, whether all are read or not."""
        self._closing.set()

    def close(self) -> None:
        """End it; return without waiting for long where the database does not answer."""
        self.stop()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._read()
            except DatabaseUnavailableError:
                self._closing.wait(RETRY_SECONDS)
            else:
                return

    def _read(self) -> None:
        with snapshot(self._engine) as connection:
            for keys in stream_references(connection):
                self.used.add(keys)
                if self._closing.wait(PAUSE_SECONDS):
                    return
        self.used.is_complete = True
