"""The log's tree as its writer grows it.

The writer keeps only the right edge: the last, partial tile of every level, 8 KiB a level at most. A batch
costs about one hash a leaf, whatever the size of the tree, and after a restart the edge is read back from
the stored tiles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from clearing.log import merkle
from clearing.log.merkle import EMPTY_ROOT, HASH_SIZE, NODE_PREFIX, node_hash
from clearing.log.tile_reader import Path, ReadTile, first_hashes
from clearing.log.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, TileError, split_hashes


@dataclass(frozen=True, slots=True)
class RightEdge:
    """All that must be known of a tree to append to it.

    size      number of entries
    tiles     for every level up to the highest in use, the hashes of its last partial tile; empty bytes
              where the last tile is full
    subtrees  the hashes of the perfect subtrees the tree is made of, smallest (rightmost) first: one for
              each 1 in the binary size
    """

    size: int
    tiles: tuple[bytes, ...]
    subtrees: tuple[bytes, ...]

    @classmethod
    def empty(cls) -> "RightEdge":
        """The edge of the tree without entries."""
        return cls(0, (), ())

    @classmethod
    def from_tiles(cls, size: int, read_tile: ReadTile) -> "RightEdge":
        """Rebuild the edge of a tree of `size` entries from its stored tiles, one a level.

        Raises TileError if a stored tile is shorter than the size demands.
        """
        tiles: list[bytes] = []
        subtrees: list[bytes] = []
        level = 0
        while size >> (TILE_HEIGHT * level):
            number, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
            hashes = first_hashes(read_tile, level, number, width) if width else b""
            tiles.append(hashes)
            end = width
            while end:
                start = end & (end - 1)
                subtrees.append(merkle.root(split_hashes(hashes[start * HASH_SIZE : end * HASH_SIZE])))
                end = start
            level += 1
        return cls(size, tuple(tiles), tuple(subtrees))

    def partial_tiles(self) -> Iterator[Tile]:
        """The partial tile of every level that has one."""
        for level, hashes in enumerate(self.tiles):
            if hashes:
                yield Tile(level, self.size >> (TILE_HEIGHT * (level + 1)), hashes)

    def root(self) -> bytes:
        """Root of the tree (RFC 6962 §2.1)."""
        if not self.subtrees:
            return EMPTY_ROOT
        computed = self.subtrees[0]
        for subtree in self.subtrees[1:]:
            computed = node_hash(subtree, computed)
        return computed


@dataclass(frozen=True, slots=True)
class Appended:
    """What appending a batch of leaves led to.

    edge      the right edge of the grown tree
    root      its root
    tiles     every hash tile that is new or longer than before, full ones and partial ones; storing them
              is all the tree needs to survive
    layers    by height, the nodes an inclusion path of a new leaf can pass by, from an even index on
    old_size  entries before the batch
    """

    edge: RightEdge
    root: bytes
    tiles: tuple[Tile, ...]
    layers: tuple[list[bytes], ...]
    old_size: int

    def inclusion_paths(self) -> list[Path]:
        """The inclusion path of every appended leaf in the grown tree, in order (RFC 6962 §2.1.1).

        Goes from the root down, so that leaves share the making of what their paths have in common.
        """
        first, last = self.old_size, self.edge.size - 1
        if last < first:
            return []
        paths: list[Path] = [()]
        for height in reversed(range(last.bit_length())):
            layer = self.layers[height]
            below: list[Path] = []
            for pair, path in enumerate(paths):
                siblings = layer[2 * pair : 2 * pair + 2]
                if len(siblings) == 2:
                    left, right = siblings
                    below.append((right, *path))
                    below.append((left, *path))
                else:
                    # The tree ends here: the node has no sibling at this height, it rises unchanged.
                    below.append(path)
            # The layer begins with an older tree's node if the first new one is a right sibling.
            paths = below[1:] if first >> height & 1 else below
        return paths


def append(edge: RightEdge, leaf_hashes: Sequence[bytes]) -> Appended:
    """Append a batch of leaves to the tree with this right edge; any number of leaves, also none.

    Raises TileError if a leaf hash is not 32 bytes.
    """
    if set(map(len, leaf_hashes)) - {HASH_SIZE}:
        raise TileError(f"every leaf hash must be exactly {HASH_SIZE} bytes; hash entries with leaf_hash()")
    old_size, new_size = edge.size, edge.size + len(leaf_hashes)
    older = iter(edge.subtrees)
    layers: list[list[bytes]] = []
    subtrees: list[bytes] = []
    partial_tiles: list[bytes] = []
    changed: list[Tile] = []
    layer = list(leaf_hashes)
    for height in range(new_size.bit_length()):
        # Here `layer` holds the complete nodes of this height that the batch made, in order.
        if height % TILE_HEIGHT == 0:
            partial_tiles.append(_grow_tiles(edge, height // TILE_HEIGHT, layer, changed))
        if old_size >> height & 1:
            # An odd number of nodes stood here before: the last waited for its right sibling.
            layer.insert(0, next(older))
        if new_size >> height & 1:
            subtrees.append(layer[-1])
        layers.append(layer)
        # Written out instead of node_hash(): this line is most of what an append costs.
        layer = [
            sha256(NODE_PREFIX + left + right).digest() for left, right in zip(layer[::2], layer[1::2], strict=False)
        ]
    _add_incomplete_nodes(layers, new_size)
    grown = RightEdge(new_size, tuple(partial_tiles), tuple(subtrees))
    return Appended(grown, grown.root(), tuple(changed), tuple(layers), old_size)


def _grow_tiles(edge: RightEdge, level: int, nodes: list[bytes], changed: list[Tile]) -> bytes:
    """Add to `changed` the tiles of a level that `nodes` make or extend; return the last, partial one."""
    before = edge.tiles[level] if level < len(edge.tiles) else b""
    if not nodes:
        return before
    hashes = before + b"".join(nodes)
    number = edge.size >> (TILE_HEIGHT * (level + 1))
    tile_bytes = TILE_WIDTH * HASH_SIZE
    for start in range(0, len(hashes), tile_bytes):
        changed.append(Tile(level, number + start // tile_bytes, hashes[start : start + tile_bytes]))
    return hashes[len(hashes) - len(hashes) % tile_bytes :]


def _add_incomplete_nodes(layers: list[list[bytes]], size: int) -> None:
    """Put behind each layer the node that spans the entries left of the size but fills no whole subtree.

    Such nodes change with every batch, so they are in no tile; but paths pass by them.
    """
    incomplete: bytes | None = None
    for height, layer in enumerate(layers):
        last_complete = layer[-1] if size >> height & 1 else None
        if incomplete is not None:
            layer.append(incomplete)
        if last_complete is not None:
            incomplete = last_complete if incomplete is None else node_hash(last_complete, incomplete)
