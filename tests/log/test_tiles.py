"""Names and contents of tile and bundle files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.log.tiles import TileError, bundle_entries, entry_bundle, tile_path, tile_width


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 999, 256, "tile/0/999"),
        (0, 1000, 256, "tile/0/x001/000"),
        (2, 1_234_067, 256, "tile/2/x001/x234/067"),  # the specification's example
        (0, 273, 112, "tile/0/273.p/112"),
        (63, 1_234_067, 1, "tile/63/x001/x234/067.p/1"),
        ("entries", 1_234_067, 256, "tile/entries/x001/x234/067"),
        ("entries", 0, 255, "tile/entries/000.p/255"),
    ],
)
def test_paths_are_those_of_the_specification(level: int, number: int, width: int, path: str) -> None:
    assert tile_path(level, number, width) == path


@pytest.mark.parametrize(("level", "number", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_places_that_no_tile_has_are_refused(level: int, number: int, width: int) -> None:
    with pytest.raises(TileError):
        tile_path(level, number, width)


@pytest.mark.parametrize(
    ("level", "number", "size", "width"),
    [
        (0, 0, 0, 0),
        (0, 0, 1, 1),
        (0, 0, 256, 256),
        (1, 0, 255, 0),
        (1, 0, 256, 1),
        (0, 272, 70_000, 256),
        (0, 273, 70_000, 112),
        (0, 274, 70_000, 0),
        (1, 1, 70_000, 17),
        (2, 0, 70_000, 1),
        (3, 0, 70_000, 0),
    ],
)
def test_widths_are_those_of_the_specification(level: int, number: int, size: int, width: int) -> None:
    assert tile_width(level, number, size) == width


def test_a_bundle_is_each_entry_behind_its_length() -> None:
    assert entry_bundle([b"ab", b"", b"c" * 258]) == b"\x00\x02ab" + b"\x00\x00" + b"\x01\x02" + b"c" * 258


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_reads_back(entries: list[bytes]) -> None:
    assert list(bundle_entries(entry_bundle(entries))) == entries


def test_the_largest_entry_fits_and_one_byte_more_is_refused() -> None:
    assert list(bundle_entries(entry_bundle([bytes(65_535)]))) == [bytes(65_535)]
    with pytest.raises(TileError, match="entry 1 of the bundle has 65536 bytes"):
        entry_bundle([b"", bytes(65_536)])


def test_bundles_hold_between_1_and_256_entries() -> None:
    assert len(list(bundle_entries(entry_bundle([b"x"] * 256)))) == 256
    for entries in ([], [b"x"] * 257):
        with pytest.raises(TileError, match="between 1 and 256"):
            entry_bundle(entries)
    with pytest.raises(TileError, match="empty"):
        list(bundle_entries(b""))
    with pytest.raises(TileError, match="goes on for 3 bytes"):
        list(bundle_entries(b"\x00\x01x" * 257))


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5), st.data())
def test_a_bundle_cut_inside_an_entry_names_it(entries: list[bytes], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(entries) - 1))
    start = len(entry_bundle(entries[:position])) if position else 0
    end = len(entry_bundle(entries[: position + 1]))
    cut = data.draw(st.integers(start + 1, end - 1))
    with pytest.raises(TileError, match=f"entry {position} of the bundle is cut short"):
        list(bundle_entries(entry_bundle(entries)[:cut]))
