"""Sorting more than fits the memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from clearing.audit.sorted_records import RECORD_BYTES, SortedRecords


@given(
    st.lists(st.binary(min_size=RECORD_BYTES, max_size=RECORD_BYTES), max_size=200),
    st.integers(1, 7),
    st.integers(2, 4),
)
def test_whatever_fits_the_memory_all_come_in_order_and_as_often_as_they_were_added(
    records: list[bytes], in_memory: int, merged: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sorting = SortedRecords(Path(folder), records_in_memory=in_memory, runs_merged=merged)
        for record in records:
            sorting.add(record)
        assert list(sorting.in_order()) == sorted(records)


def test_never_more_files_are_kept_than_few_of_each_length(tmp_path: Path) -> None:
    sorting = SortedRecords(tmp_path, records_in_memory=2, runs_merged=3)
    for number in reversed(range(1_000)):
        sorting.add(number.to_bytes(RECORD_BYTES))
        assert len(list(tmp_path.iterdir())) <= 2 * 6
    assert [int.from_bytes(record) for record in sorting.in_order()] == list(range(1_000))
