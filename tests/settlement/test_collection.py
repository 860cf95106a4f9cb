"""Settling without the search for cycles: it ends with the block, and what has no cycles is freed all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from settlement.serving.collection import collection_paused


class Value:
    """Something that a weak reference can follow."""


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_search_for_cycles_is_off_within_the_block_only() -> None:
    assert gc.isenabled()
    with collection_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_search_for_cycles_goes_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="no settlement"), collection_paused():
        raise ValueError("no settlement")
    assert gc.isenabled()


def test_search_that_was_off_before_stays_off() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_values_of_the_block_are_searched_no_more_and_freed_with_their_last_holder() -> None:
    with collection_paused():
        kept = [Value()]
    assert not any(each is kept for each in gc.get_objects())
    followed = weakref.ref(kept[0])
    del kept
    assert followed() is None
