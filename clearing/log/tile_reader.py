"""Roots and proofs for old entries and old sizes, from a handful of stored tiles, never all leaves."""

from collections.abc import Callable
from functools import cache

from clearing.log import merkle
from clearing.log.merkle import EMPTY_ROOT, HASH_SIZE, node_hash
from clearing.log.tiles import TILE_HEIGHT, TILE_WIDTH, TileError, split_hashes

ReadTile = Callable[[int, int], bytes]
"""Reads the stored hashes of a tile, given level and number. It may return a longer tile than a smaller,
older tree had; users take only the hashes that belong to the size in question."""

Path = tuple[bytes, ...]
"""The hashes of an inclusion or consistency path, in the order of RFC 6962."""


class TileReader:
    """Roots and proofs for any past size and entry, from stored tiles: O(log size) tiles a question.

    A reader is for one moment of the store: it reads each tile once, and keeps the subtrees it has hashed, so that many
    questions cost little more than one.
    """

    def __init__(self, read_tile: ReadTile) -> None:
        """Read tiles with `read_tile`; its errors pass through."""
        self._read_tile = cache(read_tile)
        self._perfect_root = cache(self._hash_perfect_subtree)

    def root(self, size: int) -> bytes:
        """Root of the tree of the first `size` entries. Raises TileError if stored tiles are too short."""
        return self._subtree_root(range(size)) if size else EMPTY_ROOT

    def inclusion_path(self, index: int, size: int) -> Path:
        """Inclusion path of entry `index` in the tree of the first `size` entries (RFC 6962 §2.1.1).

        Raises ProofError unless 0 <= index < size, TileError if the stored tiles are too short.
        """
        return tuple(map(self._subtree_root, merkle.inclusion_ranges(index, size)))

    def consistency_path(self, old_size: int, new_size: int) -> Path:
        """Consistency path between the trees of two sizes (RFC 6962 §2.1.2).

        Raises ProofError unless 0 < old_size <= new_size, TileError if the stored tiles are too short.
        """
        return tuple(map(self._subtree_root, merkle.consistency_ranges(old_size, new_size)))

    def _subtree_root(self, leaves: range) -> bytes:
        """Tree hash of a range of leaves that RFC 6962's splitting of a larger tree leads to."""
        perfect: list[bytes] = []
        start = leaves.start
        while start < leaves.stop:
            height = (leaves.stop - start).bit_length() - 1
            perfect.append(self._perfect_root(start, height))
            start += 1 << height
        computed = perfect.pop()
        while perfect:
            computed = node_hash(perfect.pop(), computed)
        return computed

    def _hash_perfect_subtree(self, start: int, height: int) -> bytes:
        """Hash of the perfect subtree of 2^height leaves from `start` on, a multiple of 2^height."""
        level, height_in_tile = divmod(height, TILE_HEIGHT)
        number, position = divmod(start >> (TILE_HEIGHT * level), TILE_WIDTH)
        end = position + (1 << height_in_tile)
        hashes = first_hashes(self._read_tile, level, number, end)
        return merkle.root(split_hashes(hashes[position * HASH_SIZE :]))


def first_hashes(read_tile: ReadTile, level: int, number: int, width: int) -> bytes:
    """The first `width` hashes of a stored tile, which may have grown since."""
    hashes = read_tile(level, number)
    if len(hashes) < width * HASH_SIZE:
        raise TileError(
            f"tile {number} of level {level} holds {len(hashes)} bytes where {width} hashes of {HASH_SIZE} "
            "bytes are needed; restore the stored tiles"
        )
    return hashes[: width * HASH_SIZE]
