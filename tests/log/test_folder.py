"""The exported folder: what is written, and that no altered, missing or foreign file passes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearing.log.checkpoint import Checkpoint, sign_checkpoint
from clearing.log.folder import FolderError, read_log_folder
from clearing.log.folder_writer import write_log_folder
from clearing.log.merkle import EMPTY_ROOT, leaf_hash, root
from clearing.log.note import NoteError, Signer
from clearing.log.tiles import bundle_entries, entry_bundle

LOG = Signer("alliance.example/log", bytes(range(32)))
ENTRIES = [f"entry {number}".encode() * (1 + number % 3) for number in range(70_000)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
SIZE = 600


def signed(size: int, signer: Signer = LOG) -> str:
    return sign_checkpoint(Checkpoint(LOG.name, size, root(LEAVES[:size])), signer)


def export(directory: Path, size: int) -> None:
    write_log_folder(directory, iter(ENTRIES[:size]), signed(size), LOG.verifier)


def check(directory: Path) -> list[bytes]:
    return list(read_log_folder(directory, LOG.verifier).entries())


def files(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 600 entries: two full tiles and one partial on level 0, one partial on level 1."""
    directory = tmp_path_factory.mktemp("exported")
    export(directory, SIZE)
    return directory


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported log that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "copied"))


def test_an_export_has_the_files_of_the_specification(exported: Path) -> None:
    content = files(exported)
    assert sorted(content) == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ]
    assert content["checkpoint"].decode() == signed(SIZE)
    assert content["tile/0/002.p/88"] == b"".join(LEAVES[512:SIZE])
    assert content["tile/1/000.p/2"] == root(LEAVES[:256]) + root(LEAVES[256:512])
    assert list(bundle_entries(content["tile/entries/001"])) == ENTRIES[256:512]
    assert not list(exported.glob(".*"))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 600])
def test_an_export_of_any_size_reads_back(size: int, tmp_path: Path) -> None:
    export(tmp_path / "new" / "log", size)
    folder = read_log_folder(tmp_path / "new" / "log", LOG.verifier)
    assert folder.checkpoint == Checkpoint(LOG.name, size, root(LEAVES[:size]))
    assert list(folder.entries()) == ENTRIES[:size]


def test_a_large_export_checks_full_tiles_on_every_level(tmp_path: Path) -> None:
    written: list[int] = []
    write_log_folder(tmp_path, ENTRIES, signed(70_000), LOG.verifier, written.append)
    assert written[:2] == [256, 512]
    assert written[-1] == 70_000
    assert check(tmp_path) == ENTRIES
    # The whole of one bundle and its leaves altered together shows only in the tile above.
    forged = [b"forged", *ENTRIES[512:767]]
    (tmp_path / "tile/entries/002").write_bytes(entry_bundle(forged))
    (tmp_path / "tile/0/002").write_bytes(b"".join(leaf_hash(entry) for entry in forged))
    with pytest.raises(FolderError, match=r"tile/1/000 does not agree with the leaves from entry 512") as caught:
        check(tmp_path)
    assert (caught.value.file, caught.value.entry_index) == ("tile/1/000", 512)


def flips(directory: Path) -> Iterator[tuple[Path, int]]:
    """Places to flip a bit: every file's first and last byte, and some between."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        length = path.stat().st_size
        for offset in {0, 1, 31, 32, length // 3, length // 2, length - 2, length - 1}:
            yield path, offset


def test_a_flipped_bit_in_any_file_is_caught_and_its_file_named(copied: Path) -> None:
    for path, offset in flips(copied):
        original = path.read_bytes()
        damaged = bytearray(original)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        with pytest.raises(FolderError) as caught:
            check(copied)
        name = str(path.relative_to(copied))
        # A leaf that does not match its entry is reported at the entry: either of the two was altered.
        assert caught.value.file == name.replace("tile/0/", "tile/entries/")
        assert str(caught.value).count(caught.value.file) >= 1
        path.write_bytes(original)
    assert check(copied) == ENTRIES[:SIZE]


@pytest.mark.parametrize("index", [0, 255, 256, 511, 512, 599])
def test_an_altered_entry_is_named_by_its_index(copied: Path, index: int) -> None:
    name = f"{index // 256:03}" + (".p/88" if index >= 512 else "")
    path = copied / "tile/entries" / name
    entries = list(bundle_entries(path.read_bytes()))
    for altered in (b"", b"altered", entries[index % 256] + b"."):
        changed = list(entries)
        changed[index % 256] = altered
        path.write_bytes(entry_bundle(changed))
        with pytest.raises(FolderError, match=f"entry {index} in tile/entries/{name}") as caught:
            check(copied)
        assert caught.value.entry_index == index


def test_an_altered_length_is_named_by_its_entry(copied: Path) -> None:
    path = copied / "tile/entries/001"
    original = path.read_bytes()
    start = len(entry_bundle(ENTRIES[256:300]))
    for high, low in ((0, 0), (0, 1), (0xFF, 0xFF)):
        path.write_bytes(original[:start] + bytes([high, low]) + original[start + 2 :])
        with pytest.raises(FolderError, match="entry 300") as caught:
            check(copied)
        assert (caught.value.file, caught.value.entry_index) == ("tile/entries/001", 300)


def test_a_missing_cut_or_extended_file_is_named(copied: Path) -> None:
    for name, original in files(copied).items():
        path = copied / name
        path.unlink()
        with pytest.raises(FolderError, match=f"{name} is missing"):
            check(copied)
        for content in (b"", original[:-1], original[: len(original) // 2], original + b"\x00", original * 2):
            path.write_bytes(content)
            with pytest.raises(FolderError) as caught:
                check(copied)
            assert caught.value.file == name
        path.write_bytes(original)


def test_a_cut_bundle_names_the_first_entry_that_is_gone(copied: Path) -> None:
    path = copied / "tile/entries/002.p/88"
    path.write_bytes(entry_bundle(ENTRIES[512:590]))
    with pytest.raises(FolderError, match="ends after 78 of 88") as caught:
        check(copied)
    assert caught.value.entry_index == 590


def test_a_cut_hash_tile_names_the_first_entry_that_is_gone(copied: Path) -> None:
    path = copied / "tile/0/001"
    path.write_bytes(path.read_bytes()[: 32 * 10 + 5])
    with pytest.raises(FolderError, match="325 bytes instead of 8192") as caught:
        check(copied)
    assert caught.value.entry_index == 266
    (copied / "tile/1/000.p/2").write_bytes(root(LEAVES[:256]))
    path.write_bytes(b"".join(LEAVES[256:512]))
    with pytest.raises(FolderError, match="32 bytes instead of 64") as caught:
        check(copied)
    assert caught.value.entry_index == 256


def test_a_dropped_last_entry_under_the_old_checkpoint_is_caught(copied: Path, tmp_path: Path) -> None:
    shorter = tmp_path / "shorter"
    export(shorter, SIZE - 1)
    shutil.rmtree(copied / "tile")
    shutil.copytree(shorter / "tile", copied / "tile")
    with pytest.raises(FolderError, match=r"tile/0/002\.p/88 is missing") as caught:
        check(copied)
    assert caught.value.entry_index == 512
    # Renamed to fit the checkpoint, they are found too short.
    for kind in ("0", "entries"):
        (copied / f"tile/{kind}/002.p/87").rename(copied / f"tile/{kind}/002.p/88")
    with pytest.raises(FolderError, match="instead of 2816") as caught:
        check(copied)
    assert caught.value.entry_index == SIZE - 1


def test_entries_and_tiles_altered_together_miss_the_root(copied: Path) -> None:
    forged = [*ENTRIES[512:599], b"forged"]
    (copied / "tile/entries/002.p/88").write_bytes(entry_bundle(forged))
    (copied / "tile/0/002.p/88").write_bytes(b"".join(leaf_hash(entry) for entry in forged))
    with pytest.raises(FolderError, match="do not hash to the root") as caught:
        check(copied)
    assert caught.value.file == "checkpoint"


def test_another_key_and_a_checkpoint_signed_by_another_key_are_refused(copied: Path) -> None:
    impostor = Signer(LOG.name, bytes(32))
    with pytest.raises(FolderError, match="checkpoint cannot be trusted"):
        read_log_folder(copied, impostor.verifier)
    (copied / "checkpoint").write_text(signed(SIZE, impostor))
    with pytest.raises(FolderError, match="not signed by any known key"):
        read_log_folder(copied, LOG.verifier)


def test_a_full_tile_may_stand_in_for_a_partial_one(tmp_path: Path) -> None:
    export(tmp_path, 768)
    (tmp_path / "checkpoint").write_text(signed(SIZE))
    shutil.rmtree(tmp_path / "tile/1")
    (tmp_path / "tile/1/000.p").mkdir(parents=True)
    (tmp_path / "tile/1/000.p/2").write_bytes(root(LEAVES[:256]) + root(LEAVES[256:512]))
    assert check(tmp_path) == ENTRIES[:SIZE]
    (tmp_path / "tile/0/002").write_bytes(b"".join(LEAVES[512:767]))
    with pytest.raises(FolderError, match="8160 bytes instead of 8192"):
        check(tmp_path)


def test_a_later_export_over_an_older_one_leaves_what_a_new_export_writes(tmp_path: Path) -> None:
    for size in (1, 88, 300, 300, 512, 600):
        export(tmp_path / "grown", size)
        assert check(tmp_path / "grown") == ENTRIES[:size]
        export(tmp_path / str(size), size)
        assert files(tmp_path / "grown") == files(tmp_path / str(size))


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (ENTRIES[: SIZE - 1], "do not hash to the root"),
        (ENTRIES[: SIZE + 1], "more entries than the 600"),
        (ENTRIES[:1000], "more entries than the 600"),
        ([b"altered", *ENTRIES[1:SIZE]], "do not hash to the root"),
        ([*ENTRIES[: SIZE - 1], bytes(65_536)], "65536 bytes"),
        ([], "do not hash to the root"),
    ],
)
def test_entries_that_are_not_the_checkpoint_s_are_refused_and_leave_the_folder(
    tmp_path: Path, entries: list[bytes], reason: str
) -> None:
    export(tmp_path, 300)
    before = files(tmp_path)
    with pytest.raises(FolderError, match=reason):
        write_log_folder(tmp_path, entries, signed(SIZE), LOG.verifier)
    assert files(tmp_path) == before


def test_a_failing_source_of_entries_leaves_the_folder(tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        yield from ENTRIES[:400]
        raise ConnectionResetError("the database went away")

    export(tmp_path, 300)
    before = files(tmp_path)
    with pytest.raises(FolderError, match="the database went away"):
        write_log_folder(tmp_path, source(), signed(SIZE), LOG.verifier)
    assert files(tmp_path) == before


def test_what_an_interrupted_export_left_aside_is_removed_by_the_next(tmp_path: Path) -> None:
    abandoned = tmp_path / ".log-export-abandoned" / "tile"
    abandoned.mkdir(parents=True)
    export(tmp_path, 5)
    assert not abandoned.parent.exists()
    assert check(tmp_path) == ENTRIES[:5]


def test_of_two_exports_to_one_folder_at_a_time_the_second_is_turned_away(tmp_path: Path) -> None:
    told: list[str] = []

    def source() -> Iterator[bytes]:
        yield from ENTRIES[:400]
        with pytest.raises(FolderError, match=r"another export to .* is under way") as raised:
            export(tmp_path, 300)
        told.append(str(raised.value))
        yield from ENTRIES[400:SIZE]

    write_log_folder(tmp_path, source(), signed(SIZE), LOG.verifier)
    assert len(told) == 1
    assert check(tmp_path) == ENTRIES[:SIZE]


def test_a_folder_of_another_or_of_a_later_log_is_not_written_over(tmp_path: Path) -> None:
    export(tmp_path, SIZE)
    before = files(tmp_path)
    with pytest.raises(FolderError, match="later export of 600 entries"):
        export(tmp_path, 300)
    other = Signer("other.example/log", bytes(32))
    empty = sign_checkpoint(Checkpoint(other.name, 0, EMPTY_ROOT), other)
    with pytest.raises(FolderError, match="holds another log"):
        write_log_folder(tmp_path, [], empty, other.verifier)
    assert files(tmp_path) == before


def test_a_rewritten_log_is_not_written_over_the_old_one(tmp_path: Path) -> None:
    export(tmp_path, 300)
    before = files(tmp_path)
    rewritten = [b"rewritten", *ENTRIES[1:SIZE]]
    new_root = root([leaf_hash(entry) for entry in rewritten])
    checkpoint = sign_checkpoint(Checkpoint(LOG.name, SIZE, new_root), LOG)
    with pytest.raises(FolderError, match="the log was rewritten"):
        write_log_folder(tmp_path, rewritten, checkpoint, LOG.verifier)
    assert files(tmp_path) == before


def test_an_unsigned_checkpoint_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(NoteError):
        write_log_folder(tmp_path / "log", [], signed(0, Signer(LOG.name, bytes(32))), LOG.verifier)
    assert not (tmp_path / "log").exists()


def test_a_place_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FolderError, match="cannot be written"):
        export(tmp_path / "file", 5)
    with pytest.raises(FolderError, match="checkpoint cannot be read"):
        read_log_folder(tmp_path / "file", LOG.verifier)
    with pytest.raises(FolderError, match="checkpoint is missing"):
        read_log_folder(tmp_path / "nowhere", LOG.verifier)
