"""Writes the log as a folder of files that any tlog tool reads (C2SP tlog-tiles); `folder` reads it.

Everything is first written and verified aside, then moved into place, the checkpoint last. So a refused or
interrupted export leaves an older one in the folder readable.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.folder import CHECKPOINT_FILE, FolderError, read_log_folder
from clearing.log.merkle import leaf_hash
from clearing.log.note import Verifier
from clearing.log.tile_reader import TileReader
from clearing.log.tiles import TILE_WIDTH, Tile, TileError, entry_bundle, tile_path, tile_width
from clearing.log.tree import RightEdge, append
from clearing.whole_file import write_whole

STAGING_PREFIX = ".log-export-"


def write_log_folder(
    directory: Path,
    entries: Iterable[bytes],
    signed_checkpoint: str,
    verifier: Verifier,
    progress: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Write the entries and the tree of a checkpoint to a folder, which may hold an older export of the log.

    `entries` must be all entries of the checkpoint's tree, in order; they are never all in memory.
    `progress` is called with the number of entries written so far. Returns the opened checkpoint.
    Raises NoteError for a checkpoint this key does not open, and FolderError, leaving an older export as it
    was, if the entries are not those of the checkpoint, if the folder holds something else, or if another
    export to it is under way.
    """
    checkpoint = open_checkpoint(signed_checkpoint, verifier)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _alone_in(directory):
            earlier = _read_earlier_checkpoint(directory, checkpoint, verifier)
            for abandoned in directory.glob(f"{STAGING_PREFIX}*"):
                shutil.rmtree(abandoned)
            staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=directory))
            try:
                edge = _write_files(staging, entries, checkpoint, progress)
                if earlier is not None:
                    _check_extends(staging, checkpoint, earlier)
                _move_tiles(staging, directory)
                write_whole(directory / CHECKPOINT_FILE, signed_checkpoint.encode())
            finally:
                shutil.rmtree(staging)
            _remove_stale_partials(directory, edge)
    except OSError as error:
        raise FolderError(
            f"the log cannot be written to {directory}: {error.strerror or error}", str(directory)
        ) from error
    return checkpoint


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other exports out of the folder until the block is left, or this process ends, however it does."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(
                f"another export to {directory} is under way; wait until it has ended, or choose another folder",
                str(directory),
            ) from None
        except OSError:
            pass  # some file systems of networks lock no folders: there nobody is kept out
        yield
    finally:
        os.close(descriptor)


def _read_earlier_checkpoint(directory: Path, checkpoint: Checkpoint, verifier: Verifier) -> Checkpoint | None:
    """The checkpoint of an older export in the folder; refuses one of another log or of a larger size."""
    if not (directory / CHECKPOINT_FILE).exists():
        return None
    advice = f"choose an empty folder, or remove {directory} first"
    try:
        earlier = read_log_folder(directory, verifier).checkpoint
    except FolderError as error:
        raise FolderError(f"{directory} holds another log ({error}); {advice}", CHECKPOINT_FILE) from error
    if earlier.size > checkpoint.size:
        raise FolderError(
            f"{directory} holds a later export of {earlier.size} entries, this has {checkpoint.size}; {advice}",
            CHECKPOINT_FILE,
        )
    return earlier


def _write_files(
    staging: Path, entries: Iterable[bytes], checkpoint: Checkpoint, progress: Callable[[int], None] | None
) -> RightEdge:
    """Write all tiles and bundles below `staging`; refuse entries that do not make the checkpoint's root."""
    edge = RightEdge.empty()
    remaining = iter(entries)
    while bundle := list(islice(remaining, TILE_WIDTH)):
        if edge.size + len(bundle) > checkpoint.size:
            raise FolderError(
                f"there are more entries than the {checkpoint.size} of the checkpoint; export just those",
                CHECKPOINT_FILE,
                checkpoint.size,
            )
        file = tile_path("entries", edge.size // TILE_WIDTH, len(bundle))
        try:
            content = entry_bundle(bundle)
        except TileError as error:
            raise FolderError(f"the entries from {edge.size} on fit no bundle: {error}", file, edge.size) from error
        _write_file(staging / file, content)
        appended = append(edge, [leaf_hash(entry) for entry in bundle])
        edge = appended.edge
        for tile in appended.tiles:
            if tile.width == TILE_WIDTH:
                _write_tile(staging, tile)
        if progress is not None:
            progress(edge.size)
    for tile in edge.partial_tiles():
        _write_tile(staging, tile)
    if edge.size != checkpoint.size or edge.root() != checkpoint.root:
        raise FolderError(
            f"the {edge.size} entries do not hash to the root of the checkpoint of {checkpoint.size}; "
            "export the entries of this very checkpoint",
            CHECKPOINT_FILE,
        )
    return edge


def _check_extends(staging: Path, checkpoint: Checkpoint, earlier: Checkpoint) -> None:
    """Refuse to replace an older export whose entries the new tree does not begin with."""

    def read_tile(level: int, number: int) -> bytes:
        width = tile_width(level, number, checkpoint.size)
        return (staging / tile_path(level, number, width)).read_bytes()

    if TileReader(read_tile).root(earlier.size) != earlier.root:
        raise FolderError(
            f"the {checkpoint.size} entries do not begin with the {earlier.size} exported before: the log "
            "was rewritten; keep the old folder as evidence and export to an empty one",
            CHECKPOINT_FILE,
        )


def _move_tiles(staging: Path, directory: Path) -> None:
    for source in sorted(path for path in staging.rglob("*") if path.is_file()):
        target = directory / source.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


def _remove_stale_partials(directory: Path, edge: RightEdge) -> None:
    """Remove partial tiles and bundles of older exports, all of which the log has outgrown."""
    current = {directory / tile_path(tile.level, tile.number, tile.width) for tile in edge.partial_tiles()}
    number, width = divmod(edge.size, TILE_WIDTH)
    if width:
        current.add(directory / tile_path("entries", number, width))
    for folder in list((directory / "tile").rglob("*.p")):
        for file in list(folder.iterdir()):
            if file not in current:
                file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _write_tile(staging: Path, tile: Tile) -> None:
    _write_file(staging / tile_path(tile.level, tile.number, tile.width), tile.hashes)


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
