"""What the command shows before an amendment or adoption is signed is what the rules will make of it."""

from __future__ import annotations

import datetime
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from back_office.client.constitution import changes_of, numbers_on, versions_in
from clearing.calendar import next_window
from clearing.contract.bounds import AMENDABLE
from clearing.model import AdoptRules, AmendConstitution, WindowId
from clearing.v1 import instruction_pb2
from clearing.v1.operations_pb2 import Adoption, Amendment, GetAllianceResponse
from tests.rules.script import World, constitution, founded, instruction, time_in

TODAY = datetime.date(2026, 3, 10)
numbers = st.none() | st.integers(1, 9)
amendments = st.lists(
    st.tuples(st.integers(-40, 40), st.lists(numbers, min_size=len(AMENDABLE), max_size=len(AMENDABLE))), max_size=8
)


def world_of_january() -> World:
    terms = constitution()
    now = time_in("2026-01-01", terms.time_zone)
    return World(founded(terms, now), now)


def told(world: World) -> GetAllianceResponse:
    """What the gateway tells of this world, as far as amendments and adoptions go."""
    directory = world.directory
    in_force = directory.constitution_on(TODAY)
    versions = directory.versions_in(directory.window_at(world.now))
    return GetAllianceResponse(
        constitution=instruction_pb2.CreateAlliance(
            **{name: getattr(in_force, name) for name in AMENDABLE},
            rules_version=versions.rules,
            settlement_version=versions.settlement,
        ),
        amendments=[Amendment(amendment=message_of(each.action)) for each in directory.amendments],
        adoptions=[
            Adoption(
                adoption=instruction_pb2.AdoptRules(
                    window=each.action.window,
                    rules_version=each.action.rules_version,
                    settlement_version=each.action.settlement_version,
                )
            )
            for each in directory.adoptions
        ],
    )


def message_of(action: AmendConstitution) -> instruction_pb2.AmendConstitution:
    changes = {name: getattr(action, name) for name in AMENDABLE}
    return instruction_pb2.AmendConstitution(effective_from=action.effective_from.isoformat(), **changes)


@given(amendments, st.integers(9, 60), st.lists(numbers, min_size=len(AMENDABLE), max_size=len(AMENDABLE)))
def test_the_numbers_shown_before_an_amendment_are_those_of_the_rules(
    asked: list[tuple[int, list[int | None]]], days_ahead: int, wanted: list[int | None]
) -> None:
    world = world_of_january()
    for number, (days, changes) in enumerate(asked):
        action = AmendConstitution(TODAY + datetime.timedelta(days=days), *changes)
        world.instruct(instruction(f"i{number}", action, world.now))
    world.now = time_in(str(TODAY), world.time_zone)
    day = TODAY + datetime.timedelta(days=days_ahead)
    answer = told(world)
    without = world.directory.constitution_on(day)
    assert numbers_on(answer, day.isoformat()) == {name: getattr(without, name) for name in AMENDABLE}

    action = AmendConstitution(day, *wanted)
    shown = changes_of(answer, message_of(action))
    world.instruct(instruction("the amendment", action, world.now))
    within = world.directory.constitution_on(day)
    assert [(each.name, each.before, each.after) for each in shown] == [
        (name, getattr(without, name), getattr(within, name)) for name in AMENDABLE
    ]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 1), st.integers(0, 1)), max_size=6))
def test_the_versions_shown_before_an_adoption_are_those_of_the_rules(asked: list[tuple[int, int, int]]) -> None:
    world = world_of_january()
    windows = list(accumulate(range(40), lambda window, _: next_window(window), initial=WindowId("2026-01")))
    month, rules, settlement = 0, 1, 1
    for number, (months, newer_rules, newer_settlement) in enumerate(asked):
        month, rules, settlement = month + months, rules + newer_rules, settlement + newer_settlement
        world.instruct(instruction(f"i{number}", AdoptRules(windows[month], rules, settlement), world.now))
    for window in windows:
        assert tuple(versions_in(told(world), window)) == (
            world.directory.versions_in(window).rules,
            world.directory.versions_in(window).settlement,
        )
