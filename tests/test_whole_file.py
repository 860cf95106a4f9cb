"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearing.whole_file import FOR_ALL_TO_READ, FOR_THE_OWNER, write_whole
from tests.open_files import STANDARD_STREAMS, open_files_at_most

OLD, NEW = b"old", b"new" * 100_000


@pytest.fixture(params=[0o000, 0o077])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("mode", [FOR_ALL_TO_READ, FOR_THE_OWNER])
def test_a_file_is_made_with_the_permissions_asked_for_whatever_the_mask(tmp_path: Path, mask: int, mode: int) -> None:
    path = tmp_path / "file"
    for content in (OLD, NEW):
        write_whole(path, content, mode=mode)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_has_the_old_file_open_reads_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, OLD)
    with path.open("rb") as reader:
        write_whole(path, NEW)
        assert reader.read() == OLD
    assert path.read_bytes() == NEW


def test_one_that_is_not_to_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, OLD, replace=False)
    with pytest.raises(FileExistsError):
        write_whole(path, NEW, replace=False)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_dangling", [False, True])
def test_a_link_is_replaced_and_never_written_through(tmp_path: Path, is_dangling: bool) -> None:
    target, path = tmp_path / "target", tmp_path / "file"
    if not is_dangling:
        target.write_bytes(OLD)
    path.symlink_to(target)
    with pytest.raises(FileExistsError):
        write_whole(path, NEW, replace=False)
    write_whole(path, NEW)
    assert not path.is_symlink()
    assert path.read_bytes() == NEW
    assert target.exists() is not is_dangling
    if not is_dangling:
        assert target.read_bytes() == OLD


def test_where_it_cannot_be_put_the_old_one_stays_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "in it").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_whole(path, NEW)
    assert list(tmp_path.iterdir()) == [path]
    with open_files_at_most(STANDARD_STREAMS), pytest.raises(OSError, match="Too many open files"):
        write_whole(tmp_path / "file", NEW)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_one_is_on_the_disk_with_its_name_before_this_returns(
    tmp_path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(tmp_path / "file", NEW, durable=durable)
    assert synced == ([False, True] if durable else [])
