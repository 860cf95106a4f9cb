"""Reads and checks the log as a folder of files (C2SP tlog-tiles); `folder_writer` writes it.

checkpoint             the signed checkpoint
tile/<level>/…         the tree's hashes
tile/entries/…         the entries
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from clearing.errors import ClearingError
from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.merkle import HASH_SIZE, leaf_hash
from clearing.log.note import NoteError, Verifier
from clearing.log.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    TileError,
    bundle_entries,
    split_hashes,
    tile_path,
    tile_width,
)
from clearing.log.tree import RightEdge, append

CHECKPOINT_FILE = "checkpoint"


class FolderError(ClearingError):
    """A log folder cannot be read or written, or its files are not the log its checkpoint speaks of.

    file         the file concerned, relative to the folder; the folder itself if it is no single file
    entry_index  the first log entry concerned, or None where no single entry can be named
    """

    def __init__(self, message: str, file: str, entry_index: int | None = None) -> None:
        super().__init__(message)
        self.file = file
        self.entry_index = entry_index


class _StoredFile(NamedTuple):
    """A file of the log: its name relative to the folder, the width the name stands for, its bytes."""

    name: str
    width: int
    content: bytes


@dataclass(frozen=True, slots=True)
class LogFolder:
    """A folder whose checkpoint is verified; its entries and hashes are verified as they are read."""

    directory: Path
    checkpoint: Checkpoint
    verifier: Verifier
    """The key that the checkpoint is signed with."""

    def entry(self, index: int) -> bytes:
        """One entry, checked against its hash in the tree's tile; `entries` checks the tile.

        Reads the whole bundle. Raises FolderError.
        """
        entries, _ = self._checked_bundle(index // TILE_WIDTH)
        return entries[index % TILE_WIDTH]

    def entries(self) -> Iterator[bytes]:
        """All entries in order, checking every bundle, every hash tile and finally the root.

        Only an iterator that ran to its end has proved the folder; what it gave until then is not proved yet.
        Raises FolderError at the first difference; it names the file and the first entry concerned.
        """
        edge = RightEdge.empty()
        while edge.size < self.checkpoint.size:
            entries, hashes = self._checked_bundle(edge.size // TILE_WIDTH)
            appended = append(edge, hashes)
            edge = appended.edge
            for tile in appended.tiles:
                if tile.level > 0 and tile.width == TILE_WIDTH:
                    self._check_tile(tile)
            yield from entries
        for tile in edge.partial_tiles():
            if tile.level > 0:
                self._check_tile(tile)
        if edge.root() != self.checkpoint.root:
            raise FolderError(
                f"the {edge.size} entries do not hash to the root in {CHECKPOINT_FILE}; entries and tiles "
                "were altered together, or the checkpoint is of another log",
                CHECKPOINT_FILE,
            )

    def _checked_bundle(self, number: int) -> tuple[list[bytes], list[bytes]]:
        """The entries of a bundle and their hashes, each found in the hash tile of level 0."""
        tile = self._read_hashes(0, number)
        hashes = split_hashes(tile.content)
        bundle = self._find("entries", number)
        first_index = number * TILE_WIDTH
        entries: list[bytes] = []
        try:
            for position, entry in enumerate(bundle_entries(bundle.content)):
                if position == len(hashes):
                    if bundle.width == len(hashes):
                        raise TileError(f"it goes on after its {len(hashes)} entries")
                    break  # a full bundle stands in for the partial one; the rest is beyond the checkpoint
                if leaf_hash(entry) != hashes[position]:
                    index = first_index + position
                    raise FolderError(_mismatch(bundle, tile, hashes, index), bundle.name, index)
                entries.append(entry)
            if len(entries) < len(hashes):
                raise TileError(f"it ends after {len(entries)} of {len(hashes)} entries")
        except TileError as error:
            index = first_index + len(entries)
            raise FolderError(f"{bundle.name} is damaged at entry {index}: {error}", bundle.name, index) from error
        return entries, hashes

    def _check_tile(self, tile: Tile) -> None:
        """Compare a stored tile above level 0 with the one that the leaves give."""
        stored = self._read_hashes(tile.level, tile.number)
        pairs = zip(split_hashes(stored.content), split_hashes(tile.hashes), strict=True)
        for position, (found, computed) in enumerate(pairs, tile.number * TILE_WIDTH):
            if found != computed:
                index = position << (TILE_HEIGHT * tile.level)
                raise FolderError(
                    f"{stored.name} does not agree with the leaves from entry {index} on; one was altered",
                    stored.name,
                    index,
                )

    def _read_hashes(self, level: int, number: int) -> _StoredFile:
        """A hash tile, reduced to the hashes that belong to the checkpoint's tree."""
        stored = self._find(level, number)
        width = tile_width(level, number, self.checkpoint.size)
        if len(stored.content) != stored.width * HASH_SIZE:
            position = number * TILE_WIDTH + min(len(stored.content) // HASH_SIZE, width)
            raise FolderError(
                f"{stored.name} has {len(stored.content)} bytes instead of {stored.width * HASH_SIZE}; "
                "it was cut or added to",
                stored.name,
                position << (TILE_HEIGHT * level),
            )
        return stored._replace(content=stored.content[: width * HASH_SIZE])

    def _find(self, level: int | Literal["entries"], number: int) -> _StoredFile:
        """Read a tile's or bundle's file, or the full one that has replaced the partial one since."""
        hash_level = 0 if level == "entries" else level
        width = tile_width(hash_level, number, self.checkpoint.size)
        name = tile_path(level, number, width)
        full_name = tile_path(level, number, TILE_WIDTH)
        if not (self.directory / name).exists() and (self.directory / full_name).exists():
            name, width = full_name, TILE_WIDTH
        first_index = number << (TILE_HEIGHT * (hash_level + 1))
        return _StoredFile(name, width, _read_file(self.directory, name, first_index))


def read_log_folder(directory: Path, verifier: Verifier) -> LogFolder:
    """Open an exported log and verify its checkpoint; the returned folder's `entries()` verify the rest.

    Raises FolderError if there is no checkpoint, or none that this key opens.
    """
    content = _read_file(directory, CHECKPOINT_FILE, None)
    try:
        return LogFolder(directory, open_checkpoint(content.decode(), verifier), verifier)
    except UnicodeDecodeError as error:
        raise FolderError(f"{CHECKPOINT_FILE} is not valid UTF-8; it was altered", CHECKPOINT_FILE) from error
    except NoteError as error:
        raise FolderError(f"{CHECKPOINT_FILE} cannot be trusted: {error}", CHECKPOINT_FILE) from error


def _mismatch(bundle: _StoredFile, tile: _StoredFile, hashes: list[bytes], index: int) -> str:
    """What to say of an entry that does not hash to its leaf: an altered entry, or a file in another's place."""
    try:
        belongs = any(leaf_hash(entry) in hashes for entry in bundle_entries(bundle.content))
    except TileError:
        belongs = False
    if belongs or len(hashes) == 1:
        return f"entry {index} in {bundle.name} does not hash to its leaf in {tile.name}; one of the two was altered"
    return (
        f"from entry {index} on, nothing in {bundle.name} hashes to a leaf in {tile.name}; one of the two files stands "
        "in another's place, or is damaged from its beginning on"
    )


def _read_file(directory: Path, file: str, first_index: int | None) -> bytes:
    try:
        return (directory / file).read_bytes()
    except FileNotFoundError as error:
        raise FolderError(f"{file} is missing in {directory}; get the whole export", file, first_index) from error
    except OSError as error:
        raise FolderError(f"{file} cannot be read: {error}", file, first_index) from error
