"""Records of sixteen bytes, sorted: as many as the disk holds, in the memory that a few of them take.

An external merge sort: what fits the memory is sorted there and written to a file, a run; runs are merged into longer
ones, so that never many files are open at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

RECORD_BYTES: Final = 16
RECORDS_IN_MEMORY: Final = 1 << 17
"""Some eight megabytes as Python has them."""
RUNS_MERGED: Final = 64
"""So many runs of one length become one of the next."""
RECORDS_READ: Final = 4_096
"""Of each run at a time, and written at a time."""


class SortedRecords:
    """Records that are added in any order and given back in that of their bytes."""

    def __init__(
        self, folder: Path, *, records_in_memory: int = RECORDS_IN_MEMORY, runs_merged: int = RUNS_MERGED
    ) -> None:
        """Runs are written to ``folder``, which is the caller's to remove."""
        self._folder = folder
        self._records_in_memory = records_in_memory
        self._runs_merged = runs_merged
        self._in_memory: list[bytes] = []
        self._runs: list[list[Path]] = []
        """By length: each level's are ``runs_merged`` times as long as those of the one before."""
        self._numbers = count()

    def add(self, record: bytes) -> None:
        """Add one. Raises ``OSError`` where the disk has no room."""
        self._in_memory.append(record)
        if len(self._in_memory) >= self._records_in_memory:
            self._in_memory.sort()
            self._add_run(0, self._in_memory)
            self._in_memory = []

    def in_order(self) -> Iterator[bytes]:
        """All that were added, each as often as it was. Raises ``OSError``."""
        self._in_memory.sort()
        runs = [_read(run) for level in self._runs for run in level]
        return heapq.merge(self._in_memory, *runs)

    def _add_run(self, level: int, records: Iterable[bytes]) -> None:
        if level == len(self._runs):
            self._runs.append([])
        run = self._folder / f"run-{next(self._numbers)}"
        _write(run, records)
        runs = self._runs[level]
        runs.append(run)
        if len(runs) == self._runs_merged:
            self._add_run(level + 1, heapq.merge(*map(_read, runs)))
            self._runs[level] = []
            for merged in runs:
                merged.unlink()


def _write(run: Path, records: Iterable[bytes]) -> None:
    with run.open("wb") as file:
        chunk: list[bytes] = []
        for record in records:
            chunk.append(record)
            if len(chunk) == RECORDS_READ:
                file.write(b"".join(chunk))
                chunk.clear()
        file.write(b"".join(chunk))


def _read(run: Path) -> Iterator[bytes]:
    with run.open("rb") as file:
        while chunk := file.read(RECORDS_READ * RECORD_BYTES):
            for start in range(0, len(chunk), RECORD_BYTES):
                yield chunk[start : start + RECORD_BYTES]
