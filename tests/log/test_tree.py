"""The writer's incremental tree and the reader of stored tiles, against the plain definitions of the tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.log.merkle import ProofError, consistency_path, inclusion_path, leaf_hash, root
from clearing.log.tile_reader import TileReader
from clearing.log.tiles import Tile, TileError, split_hashes, tile_width
from clearing.log.tree import Appended, RightEdge, append

LEAVES = [leaf_hash(str(number).encode()) for number in range(1200)]


class StoredTiles:
    """Tiles as a store keeps them: the widest version of each."""

    def __init__(self) -> None:
        self.hashes: dict[tuple[int, int], bytes] = {}
        self.reads = 0

    def write(self, tiles: tuple[Tile, ...]) -> None:
        for tile in tiles:
            assert tile.hashes.startswith(self.hashes.get((tile.level, tile.number), b""))
            assert len(tile.hashes) > len(self.hashes.get((tile.level, tile.number), b""))
            self.hashes[tile.level, tile.number] = tile.hashes

    def read(self, level: int, number: int) -> bytes:
        self.reads += 1
        return self.hashes[level, number]


def grow(batches: list[int], leaves: list[bytes]) -> tuple[list[Appended], StoredTiles]:
    """Append the leaves in batches of the given sizes."""
    edge, stored, steps = RightEdge.empty(), StoredTiles(), []
    for batch in batches:
        appended = append(edge, leaves[edge.size : edge.size + batch])
        stored.write(appended.tiles)
        steps.append(appended)
        edge = appended.edge
    return steps, stored


batch_splits = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 40), st.sampled_from([1, 127, 128, 255, 256, 257, 300])),
    max_size=12,
).filter(lambda batches: sum(batches) <= len(LEAVES))


@given(batch_splits)
@settings(max_examples=60)
def test_any_batches_lead_to_the_root_and_the_paths_of_the_definition(batches: list[int]) -> None:
    steps, _ = grow(batches, LEAVES)
    for step, batch in zip(steps, batches, strict=True):
        size = step.edge.size
        assert step.root == step.edge.root() == root(LEAVES[:size])
        paths = step.inclusion_paths()
        assert len(paths) == batch
        # Every path of a small batch; of a large one the ends, where the shapes differ.
        for position in {*range(min(batch, 6)), *range(max(0, batch - 6), batch)}:
            assert list(paths[position]) == inclusion_path(LEAVES, size - batch + position, size)


def test_all_paths_of_all_small_splits_are_those_of_the_definition() -> None:
    for old_size in range(35):
        edge = append(RightEdge.empty(), LEAVES[:old_size]).edge
        for size in range(old_size, 35):
            appended = append(edge, LEAVES[old_size:size])
            expected = [tuple(inclusion_path(LEAVES, index, size)) for index in range(old_size, size)]
            assert appended.inclusion_paths() == expected


@given(batch_splits)
@settings(max_examples=60)
def test_stored_tiles_are_those_of_tlog_tiles_and_rebuild_the_edge(batches: list[int]) -> None:
    steps, stored = grow(batches, LEAVES)
    size = sum(batches)
    expected = {}
    for level in range(2):
        span = 256**level
        complete = [root(LEAVES[start : start + span]) for start in range(0, size - span + 1, span)]
        for number in range(0, len(complete), 256):
            expected[level, number // 256] = b"".join(complete[number : number + 256])
    assert stored.hashes == expected
    for step in steps:
        assert RightEdge.from_tiles(step.edge.size, stored.read) == step.edge


def test_a_tree_of_70000_entries_has_the_tiles_the_specification_counts() -> None:
    # C2SP tlog-tiles: 273 full and one partial of 112 on level 0, one full and one of 17, one of 1.
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(70_000)]
    steps, stored = grow([30_000, 1, 39_999], leaves)
    widths: dict[int, list[int]] = {}
    for (level, number), hashes in sorted(stored.hashes.items()):
        assert tile_width(level, number, 70_000) == len(hashes) // 32
        widths.setdefault(level, []).append(len(hashes) // 32)
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    edge = steps[-1].edge
    assert [(tile.level, tile.number, tile.width) for tile in edge.partial_tiles()] == [
        (0, 273, 112),
        (1, 1, 17),
        (2, 0, 1),
    ]
    assert RightEdge.from_tiles(70_000, stored.read) == edge
    assert stored.hashes[2, 0] == root(leaves[:65_536])
    reader = TileReader(stored.read)
    assert reader.root(70_000) == edge.root() == root(leaves)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        assert list(reader.inclusion_path(index, 70_000)) == inclusion_path(leaves, index, 70_000)
    stored.reads = 0
    reader.inclusion_path(12_345, 70_000)
    assert stored.reads <= 5
    stored.reads = 0
    assert list(reader.consistency_path(66_000, 70_000)) == consistency_path(leaves, 66_000, 70_000)
    assert stored.reads <= 5


def test_an_append_stores_only_the_tiles_it_changes() -> None:
    edge = append(RightEdge.empty(), LEAVES[:600]).edge
    appended = append(edge, LEAVES[600:601])
    assert [(tile.level, tile.number, tile.width) for tile in appended.tiles] == [(0, 2, 89)]
    appended = append(edge, LEAVES[600:800])
    assert [(tile.level, tile.number, tile.width) for tile in appended.tiles] == [
        (0, 2, 256),
        (0, 3, 32),
        (1, 0, 3),
    ]


def test_an_append_leaves_the_edge_it_started_from_as_it_was() -> None:
    edge = append(RightEdge.empty(), LEAVES[:300]).edge
    once, twice = append(edge, LEAVES[300:700]), append(edge, LEAVES[300:700])
    assert once == twice
    assert edge == append(RightEdge.empty(), LEAVES[:300]).edge


def test_tiles_give_every_path_for_every_entry_and_size() -> None:
    _, stored = grow([45], LEAVES)
    reader = TileReader(stored.read)
    for size in range(46):
        assert reader.root(size) == root(LEAVES[:size])
        for index in range(size):
            assert list(reader.inclusion_path(index, size)) == inclusion_path(LEAVES, index, size)
        for old_size in range(1, size + 1):
            assert list(reader.consistency_path(old_size, size)) == consistency_path(LEAVES, old_size, size)


_, GROWN = grow([len(LEAVES)], LEAVES)


@given(st.tuples(st.integers(1, len(LEAVES)), st.integers(1, len(LEAVES))).map(sorted), st.data())
@settings(max_examples=60)
def test_tiles_that_grew_since_still_give_the_paths_of_old_sizes(pair: list[int], data: st.DataObject) -> None:
    old_size, size = pair
    index = data.draw(st.integers(0, size - 1))
    reader = TileReader(GROWN.read)
    assert reader.root(size) == root(LEAVES[:size])
    assert list(reader.inclusion_path(index, size)) == inclusion_path(LEAVES, index, size)
    assert list(reader.consistency_path(old_size, size)) == consistency_path(LEAVES, old_size, size)


def test_a_tree_grows_on_from_an_old_size_of_tiles_that_grew_since() -> None:
    edge = RightEdge.from_tiles(700, GROWN.read)
    assert append(edge, LEAVES[700:]).root == root(LEAVES)


def test_tiles_too_short_for_the_size_are_refused() -> None:
    _, stored = grow([300], LEAVES)
    with pytest.raises(TileError, match="tile 1 of level 0 holds 1408 bytes"):
        RightEdge.from_tiles(310, stored.read)
    with pytest.raises(TileError, match="restore the stored tiles"):
        TileReader(stored.read).root(310)


def test_the_reader_refuses_entries_beyond_the_size_and_impossible_sizes() -> None:
    reader = TileReader(GROWN.read)
    with pytest.raises(ProofError):
        reader.inclusion_path(5, 5)
    with pytest.raises(ProofError):
        reader.consistency_path(0, 5)
    with pytest.raises(ProofError):
        reader.consistency_path(6, 5)


def test_leaf_hashes_of_another_length_are_refused() -> None:
    with pytest.raises(TileError, match="exactly 32 bytes"):
        append(RightEdge.empty(), [LEAVES[0], b"entry instead of its hash"])


def test_hashes_of_a_tile_come_apart_in_order() -> None:
    assert split_hashes(b"".join(LEAVES[:5])) == LEAVES[:5]
