"""Paths and contents of the files a tiled log consists of, as in C2SP tlog-tiles.

A hash tile of level l holds up to 256 consecutive tree hashes, each over 256^l entries; an entry bundle
holds the up to 256 entries below one tile of level 0.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from clearing.errors import ClearingError
from clearing.log.merkle import HASH_SIZE

TILE_HEIGHT = 8
TILE_WIDTH = 256
LARGEST_ENTRY_SIZE = 65_535
LARGEST_LEVEL = 63
LENGTH_SIZE = 2


class TileError(ClearingError):
    """A tile, a bundle or the place of one is not as C2SP tlog-tiles wants it."""


class Tile(NamedTuple):
    """A hash tile: its place in the tree and its hashes, one after the other (1 to 256 times 32 bytes)."""

    level: int
    number: int
    hashes: bytes

    @property
    def width(self) -> int:
        """How many hashes the tile holds; 256 if it is full."""
        return len(self.hashes) // HASH_SIZE


def tile_path(level: int | Literal["entries"], number: int, width: int) -> str:
    """Path of a hash tile, or with level "entries" of an entry bundle, relative to the log's folder.

    The number is written in groups of three digits, all but the last with an `x` before them; a width
    below 256 names a partial tile. Raises TileError for places that no tile has.
    """
    if level != "entries" and not 0 <= level <= LARGEST_LEVEL:
        raise TileError(f"tiles have levels from 0 to {LARGEST_LEVEL}, not {level}")
    if number < 0:
        raise TileError(f"tiles are numbered from 0, not {number}")
    if not 1 <= width <= TILE_WIDTH:
        raise TileError(f"a tile holds between 1 and {TILE_WIDTH} hashes, not {width}")
    path = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        path = f"x{number % 1000:03}/{path}"
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{path}{partial}"


def tile_width(level: int, number: int, size: int) -> int:
    """How many hashes tile `number` of `level` holds in a tree of `size` entries; 0 if it does not exist."""
    hashes_on_level = size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, hashes_on_level - number * TILE_WIDTH))


def split_hashes(hashes: bytes) -> list[bytes]:
    """The single hashes of a tile's bytes, whose length must be a multiple of 32."""
    return [hashes[start : start + HASH_SIZE] for start in range(0, len(hashes), HASH_SIZE)]


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """One bundle of 1 to 256 entries, each behind its length in two bytes, big-endian.

    Raises TileError for more or fewer entries, and for an entry longer than 65,535 bytes.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise TileError(f"a bundle holds between 1 and {TILE_WIDTH} entries, not {len(entries)}")
    parts = []
    for position, entry in enumerate(entries):
        if len(entry) > LARGEST_ENTRY_SIZE:
            raise TileError(
                f"entry {position} of the bundle has {len(entry)} bytes; the log takes at most {LARGEST_ENTRY_SIZE}"
            )
        parts.append(len(entry).to_bytes(LENGTH_SIZE, "big"))
        parts.append(entry)
    return b"".join(parts)


def bundle_entries(bundle: bytes) -> Iterator[bytes]:
    """The entries of a bundle one by one; raises TileError at the first that is cut short or one too many.

    Being lazy, it lets a reader judge the entries in front of a damaged place.
    """
    if not bundle:
        raise TileError("the bundle is empty; it must hold at least one entry")
    position = 0
    offset = 0
    while offset < len(bundle):
        if position == TILE_WIDTH:
            raise TileError(f"the bundle goes on for {len(bundle) - offset} bytes after entry {TILE_WIDTH - 1}")
        start = offset + LENGTH_SIZE
        end = start + int.from_bytes(bundle[offset:start], "big")
        if start > len(bundle) or end > len(bundle):
            raise TileError(f"entry {position} of the bundle is cut short; the bundle ends at byte {len(bundle)}")
        yield bundle[start:end]
        position += 1
        offset = end
