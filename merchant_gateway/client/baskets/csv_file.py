"""Strict reading of a CSV file (RFC 4180, UTF-8), plain or compressed by gzip. Every fault names its line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from clearing.errors import ClearingError

LINE_BYTES_MAX = 65_536
FAULTS_SHOWN = 10

_GZIP = b"\x1f\x8b"


class Fault(NamedTuple):
    """What is wrong, and where."""

    line: int
    """From 1, the header's."""
    text: str


class CsvFileError(ClearingError):
    """The file is not what it should be; nothing of it was used."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        """``faults`` in the order of their lines, at least one."""
        shown = [f"{path}, line {fault.line:,}: {fault.text}" for fault in faults[:FAULTS_SHOWN]]
        if len(faults) > FAULTS_SHOWN:
            shown.append(f"and {len(faults) - FAULTS_SHOWN:,} more faults in {path}")
        super().__init__("\n".join(shown))
        self.faults = tuple(faults)


class CsvUnreadableError(ClearingError):
    """There is no such file, or it may not be read."""


class Row(NamedTuple):
    """A row and the line it stands on; of several lines, the last."""

    line: int
    fields: list[str]


def read_rows(path: Path, header: Sequence[str], faults: list[Fault]) -> Iterator[Row]:
    """The rows after the header, as many fields each as it has; rows of another number go to ``faults``.

    Raises ``CsvUnreadableError``; and ``CsvFileError`` where the file as such is at fault: empty, another header, not
    UTF-8, quoting that does not close, compressed data that is cut short or damaged.
    """
    try:
        with open(path, "rb") as file:
            is_compressed = file.read(2) == _GZIP
            file.seek(0)
            with gzip.open(file) if is_compressed else file as lines:
                yield from _rows(path, lines, header, faults)
    except OSError as error:
        raise CsvUnreadableError(f"cannot read {path}: {error.strerror or error}") from None


def _rows(path: Path, lines: BufferedIOBase, header: Sequence[str], faults: list[Fault]) -> Iterator[Row]:
    reader = csv.reader(_decoded(path, lines), strict=True)
    try:
        first = next(reader, None)
        if first is None:
            raise CsvFileError(path, [Fault(1, f"the file is empty; it begins with the header {','.join(header)}")])
        if first != list(header):
            raise CsvFileError(path, [Fault(1, f"the header must be {','.join(header)}")])
        for fields in reader:
            if len(fields) == len(header):
                yield Row(reader.line_num, fields)
            elif not fields:
                faults.append(Fault(reader.line_num, "the line is empty"))
            else:
                which = "too few" if len(fields) < len(header) else "too many"
                faults.append(Fault(reader.line_num, f"{which} columns: {len(fields)} instead of {len(header)}"))
    except csv.Error as error:
        raise CsvFileError(path, [*faults, Fault(reader.line_num, f"not CSV: {error}")]) from None


def _decoded(path: Path, lines: BufferedIOBase) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        try:
            line = lines.readline(LINE_BYTES_MAX + 1)
        except EOFError:
            raise CsvFileError(path, [Fault(number, "the compressed file ends here: it is cut short")]) from None
        except (gzip.BadGzipFile, zlib.error):
            raise CsvFileError(path, [Fault(number, "the compressed file is damaged from here on")]) from None
        if not line:
            return
        if len(line) > LINE_BYTES_MAX:
            raise CsvFileError(path, [Fault(number, f"the line is longer than {LINE_BYTES_MAX:,} bytes")])
        try:
            # A byte order mark, which spreadsheets write, is no part of the header.
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise CsvFileError(
                path, [Fault(number, f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8")]
            ) from None
