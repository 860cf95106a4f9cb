"""Amendments of the constitution: dated, told before, and never for what was decided earlier."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.model import AmendConstitution, Outcome
from clearing.rules.case import InstructionDecision
from tests.rules.script import World, constitution, founded, instruction, play, time_in


def test_an_amendment_holds_from_its_first_day_on() -> None:
    play(
        """
        at 2026-01-10
        ops i1 amend 2026-02-01 late=3
        a open o1 C1
        a earn e1 C1 5 occurred=-10d
        at 2026-01-31T23:59:59
        a earn e2 C1 5 occurred=-10d
        at 2026-02-01T00:00:00
        a earn e3 C1 5 occurred=-4d -> late_presentment
        a earn e4 C1 5 occurred=-2d
        """,
    )


def test_lots_earned_before_an_amendment_keep_their_date_and_are_found_again_by_refunds() -> None:
    play("""
        at 2026-01-10
        ops i1 amend 2026-02-01 lifetime=3
        a open o1 C1
        a earn e1 C1 100
        at 2026-02-10
        a earn e2 C1 50
        C1 holds a 2026-05-31 50, a 2027-01-31 100
        a refund r1 C1 e1 60
            earn_refunded C1 a 2027-01-31 60
        a refund r2 C1 e2 20
            earn_refunded C1 a 2026-05-31 20 issued 2026-02
        C1 holds a 2026-05-31 30, a 2027-01-31 40
    """)


def test_the_notice_is_counted_in_local_days_and_that_in_force_when_it_is_decided() -> None:
    play(
        """
        at 2026-01-10T23:59:59
        ops i1 amend 2026-01-19 late=5 -> amendment_too_soon
        ops i2 amend 2026-01-20 notice=2
        at 2026-01-19
        ops i3 amend 2026-01-28 late=5 -> amendment_too_soon
        ops i4 amend 2026-01-29 late=5
        at 2026-01-20
        ops i5 amend 2026-01-21 late=6 -> amendment_too_soon
        ops i6 amend 2026-01-22 late=6
        """,
        notice_days=10,
    )


def test_without_notice_an_amendment_may_begin_today_but_never_earlier() -> None:
    play("""
        at 2026-01-10
        ops i1 amend 2026-01-09 late=5 -> amendment_too_soon
        ops i2 amend 2026-01-10 late=5
    """)


def test_what_changes_nothing_is_refused_and_what_is_to_come_is_taken_back() -> None:
    world = play("""
        at 2026-01-10
        ops i1 amend 2026-02-01 late=30 -> constitution_unchanged
        ops i2 amend 2026-02-01 late=5 lifetime=12
        ops i3 amend 2026-02-01 late=5 -> constitution_unchanged
        ops i4 amend 2026-03-01 late=5 -> constitution_unchanged
        ops i5 amend 2026-02-01 late=30
        at 2026-02-10
        a open o1 C1 occurred=-29d
    """)
    assert world.directory.constitution_on(world.today) == world.directory.constitution


def test_an_earlier_day_decided_later_lasts_until_the_later_day() -> None:
    world = play("""
        at 2026-01-10
        ops i1 amend 2026-03-01 late=5
        ops i2 amend 2026-02-01 late=9 lifetime=6
    """)
    shown = [
        (day, in_force.late_presentment_days, in_force.lot_lifetime_months)
        for day in ("2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01", "2027-01-01")
        for in_force in [world.directory.constitution_on(datetime.date.fromisoformat(day))]
    ]
    assert shown == [
        ("2026-01-31", 30, 12),
        ("2026-02-01", 9, 6),
        ("2026-02-28", 9, 6),
        ("2026-03-01", 5, 6),
        ("2027-01-01", 5, 6),
    ]


FIRST_DAY = datetime.date(2026, 1, 1)
NAMES = ("late_presentment_days", "lot_lifetime_months", "notice_days")
numbers = st.none() | st.integers(1, 12)
orders = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5), numbers, numbers, numbers), max_size=12)


@given(orders)
def test_what_is_in_force_is_the_newest_word_of_the_newest_day_and_no_past_day_ever_changes(
    asked: list[tuple[int, int, int | None, int | None, int | None]],
) -> None:
    terms = constitution(notice_days=3)
    now = time_in("2026-01-01", terms.time_zone)
    world = World(founded(terms, now), now)
    accepted: list[AmendConstitution] = []
    day = FIRST_DAY
    for number, (days_ahead, days_pass, *changes) in enumerate(asked):
        if all(change is None for change in changes):
            continue
        day += datetime.timedelta(days=days_pass)
        world.now = time_in(str(day), world.time_zone)
        before = world.directory
        action = AmendConstitution(day + datetime.timedelta(days=days_ahead), *changes)
        notice_days = before.constitution_on(day).notice_days
        decision = world.instruct(instruction(f"i{number}", action, world.now))
        assert isinstance(decision, InstructionDecision)
        if days_ahead < notice_days:
            assert decision.result.outcome is Outcome.AMENDMENT_TOO_SOON
        if decision.result.outcome is Outcome.ACCEPTED:
            accepted.append(action)
        else:
            assert world.directory.amendments == before.amendments
        for offset in range(100):
            asked_day = FIRST_DAY + datetime.timedelta(days=offset)
            if asked_day < day + datetime.timedelta(days=notice_days):
                assert world.directory.constitution_on(asked_day) == before.constitution_on(asked_day)
            in_force = world.directory.constitution_on(asked_day)
            words: dict[str, Any] = {
                name: _newest_word(accepted, name, asked_day, getattr(terms, name)) for name in NAMES
            }
            assert in_force == replace(terms, **words)


def _newest_word(accepted: list[AmendConstitution], name: str, day: datetime.date, founded_with: int) -> int:
    words = [
        (each.effective_from, order, getattr(each, name))
        for order, each in enumerate(accepted)
        if each.effective_from <= day and getattr(each, name) is not None
    ]
    return int(max(words)[2]) if words else founded_with


@pytest.mark.parametrize("name", ["unit", "currency", "time_zone", "clock", "settlement_method", "four_eyes"])
def test_an_amendment_has_no_word_for_what_never_changes(name: str) -> None:
    assert not hasattr(AmendConstitution(FIRST_DAY, 1, 1, 1), name)
