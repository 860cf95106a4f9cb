"""Adopting versions: from a window that has not begun, and never back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.calendar import next_window
from clearing.errors import ErrorReason, Rejection
from clearing.model import RULES_VERSION, SETTLEMENT_VERSION, AdoptRules, Outcome, WindowId
from clearing.rules.case import InstructionDecision
from clearing.rules.directory import Versions
from clearing.rules.versions import RULES, SETTLEMENT_VERSIONS, require_known, rules_at
from tests.rules.script import World, constitution, founded, instruction, play, time_in


def test_versions_are_adopted_for_a_window_that_has_not_begun() -> None:
    world = play("""
        at 2026-01-31T23:59:59
        ops i1 adopt 2026-01 2 1 -> adoption_too_soon
        ops i2 adopt 2025-12 2 1 -> adoption_too_soon
        ops i3 adopt 2026-02 2 1
        ops i4 adopt 2026-03 2 1 -> versions_unchanged
        ops i5 adopt 2026-04 2 3
        ops i6 adopt 2026-05 1 3 -> version_goes_back
        ops i7 adopt 2026-05 2 2 -> version_goes_back
        ops i8 adopt 2026-03 2 4 -> version_goes_back
        ops i9 adopt 2026-03 2 2
        at 2026-02-01T00:00:00
        ops i10 adopt 2026-02 2 1 -> adoption_too_soon
    """)
    assert [world.directory.versions_in(WindowId(f"2026-0{month}")) for month in range(1, 6)] == [
        Versions(1, 1),
        Versions(2, 1),
        Versions(2, 2),
        Versions(2, 3),
        Versions(2, 3),
    ]


def test_an_adoption_to_come_is_taken_back_by_another_for_the_same_window() -> None:
    world = play("""
        at 2026-01-10
        ops i1 adopt 2026-03 2 2
        ops i2 adopt 2026-03 1 1
    """)
    assert world.directory.versions_in(WindowId("2026-12")) == Versions(1, 1)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(1, 3), st.integers(1, 3)), max_size=12))
def test_versions_never_go_back_and_a_window_that_has_begun_keeps_its_own(
    asked: list[tuple[int, int, int, int]],
) -> None:
    terms = constitution()
    now = time_in("2026-01-01", terms.time_zone)
    world = World(founded(terms, now), now)
    windows = [world.directory.window_at(now)]
    while len(windows) < 36:
        windows.append(next_window(windows[-1]))
    month = 0
    for number, (months_pass, ahead, rules, settlement) in enumerate(asked):
        month += months_pass
        world.now = time_in(f"{windows[month]}-15", world.time_zone)
        before = [world.directory.versions_in(window) for window in windows]
        action = AdoptRules(windows[month + ahead], rules, settlement)
        decision = world.instruct(instruction(f"i{number}", action, world.now))
        assert isinstance(decision, InstructionDecision)
        after = [world.directory.versions_in(window) for window in windows]
        assert after[: month + 1] == before[: month + 1]
        assert all(
            earlier.rules <= later.rules and earlier.settlement <= later.settlement
            for earlier, later in pairwise(after)
        )
        if decision.result.outcome is Outcome.ACCEPTED:
            assert after[month + ahead] == Versions(rules, settlement)
            assert after[: month + ahead] == before[: month + ahead]
        else:
            assert after == before


@pytest.mark.parametrize(
    ("rules", "settlement", "told"),
    [(2, 1, "version 2 of the rules is asked for, and this program has 1;"), (1, 7, "version 7 of the settlement")],
)
def test_versions_that_this_program_does_not_have_are_named_and_never_decided(
    rules: int, settlement: int, told: str
) -> None:
    with pytest.raises(Rejection, match=told) as raised:
        require_known(AdoptRules(WindowId("2026-03"), rules, settlement))
    assert raised.value.reason is ErrorReason.UNKNOWN_VERSION


def test_an_entry_of_a_version_that_this_program_does_not_have_is_not_decided() -> None:
    world = play("ops i1 adopt 2026-02 2 1")
    assert rules_at(world.directory, time_in("2026-01-31", world.time_zone)) is RULES[1]
    with pytest.raises(Rejection) as raised:
        rules_at(world.directory, time_in("2026-02-01", world.time_zone))
    assert raised.value.reason is ErrorReason.UNKNOWN_VERSION


def test_a_new_alliance_begins_with_versions_that_this_program_has() -> None:
    assert max(RULES) == RULES_VERSION
    assert max(SETTLEMENT_VERSIONS) == SETTLEMENT_VERSION
