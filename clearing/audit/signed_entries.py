"""Which key signed which entry, on the disk: asked for only where somebody else may have had a key."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from clearing.closing import Closing
from clearing.model import EntryIndex, Instant, KeyId

RECORD: Final = struct.Struct(">IQQ")
"""The key's number, when the entry was accepted, its index."""
RECORDS_READ: Final = 4_096


class SignedEntries(Closing):
    """The entries of a log by who signed them."""

    def __init__(self, path: Path) -> None:
        """``path`` is the file's, which the caller removes."""
        self._file = path.open("w+b")
        self._numbers: dict[KeyId, int] = {}

    def add(self, signers: Iterable[KeyId], accepted_at: Instant, index: EntryIndex) -> None:
        """An entry. Raises ``OSError`` where the disk has no room."""
        for key_id in signers:
            number = self._numbers.setdefault(key_id, len(self._numbers))
            self._file.write(RECORD.pack(number, accepted_at, index))

    def entries_since(self, since: Mapping[KeyId, Instant]) -> dict[KeyId, list[EntryIndex]]:
        """For each of these keys, the entries that it signed at that time or later. Raises ``OSError``."""
        found: dict[KeyId, list[EntryIndex]] = {key_id: [] for key_id in since}
        asked = {self._numbers[key_id]: key_id for key_id in since if key_id in self._numbers}
        if asked:
            for number, accepted_at, index in self._records():
                key_id = asked.get(number)
                if key_id is not None and accepted_at >= since[key_id]:
                    found[key_id].append(EntryIndex(index))
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _records(self) -> Iterator[tuple[int, int, int]]:
        self._file.seek(0)
        while chunk := self._file.read(RECORDS_READ * RECORD.size):
            yield from RECORD.iter_unpack(chunk)
