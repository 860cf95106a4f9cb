"""Set offsets: what is to come can be corrected, what has been never moves."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.calendar import LocalCalendar
from clearing.model import MICROSECONDS_PER_DAY, MICROSECONDS_PER_MINUTE, Instant, OffsetChange, Outcome, SetOffsets
from clearing.rules.case import Case
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger
from clearing.rules.offsets import set_offsets
from tests.rules.script import constitution, founded, play, time_in

BERLIN = "Europe/Berlin"


def test_a_change_to_come_is_replaced_from_24_hours_ahead_on() -> None:
    world = play(
        """
        at 2026-03-27T12:00:00
        ops i1 offsets 2026-03-28T10:59:00Z -> offsets_too_soon
        ops i2 offsets 2026-03-28T11:00:00Z                       # no summer time any more
        ops i3 offsets 2026-03-28T12:00:00Z -> offsets_unchanged
        at 2026-03-31T22:59:59Z
        ops i4 close 2026-03 -> window_not_over
        """,
        time_zone=BERLIN,
    )
    assert world.directory.window_at(time_in("2026-03-31T22:59:59Z", BERLIN)) == "2026-03"
    assert world.directory.window_at(time_in("2026-03-31T23:00:00Z", BERLIN)) == "2026-04"


def test_a_first_change_to_the_offset_that_holds_is_none() -> None:
    play(
        """
        at 2026-03-01T12:00:00
        ops i1 offsets 2026-03-10T00:00:00Z 2026-03-10T00:00:00Z/60 2026-06-01T00:00:00Z/120
        ops i2 offsets 2026-03-10T00:00:00Z 2026-06-01T00:00:00Z/120 -> offsets_unchanged
        """,
        time_zone=BERLIN,
    )


def test_clocks_put_back_over_the_end_of_a_month_leave_the_month_that_has_begun() -> None:
    play(
        """
        at 2026-05-20T12:00:00
        ops i1 offsets 2026-05-31T22:30:00Z 2026-05-31T22:30:00Z/-720
        at 2026-05-31T22:00:00Z
        a open o1 C1
        ops c1 close 2026-01 -> accepted 0..1
        ops c2 close 2026-02 -> accepted 1..1
        ops c3 close 2026-03 -> accepted 1..1
        ops c4 close 2026-04 -> accepted 1..1
        ops c5 close 2026-05 -> accepted 1..2
        at 2026-05-31T22:30:00Z                # clocks show 10:30 on 31 May again, and June goes on
        a open o2 C2
        ops c6 close 2026-06 -> window_not_over
        at 2026-07-01T11:59:59Z
        ops c7 close 2026-06 -> window_not_over
        at 2026-07-01T12:00:00Z
        ops c8 close 2026-06 -> accepted 2..11
        """,
        time_zone=BERLIN,
    )


@st.composite
def corrections(draw: st.DrawFn) -> tuple[int, SetOffsets]:
    """Minutes until the correction, and a correction from some time around its notice on."""
    ahead = draw(st.integers(1, 40_000))
    at = draw(st.integers(0, 3 * 24 * 60))
    changes: list[tuple[int, int]] = []
    offset = None
    for gap in draw(st.lists(st.integers(0, 3_000), max_size=5)):
        at += gap + bool(changes)
        following = draw(st.integers(-720, 840).filter(lambda each: each != offset))  # noqa: B023 - drawn at once
        changes.append((at, following))
        offset = following
    start = draw(st.integers(0, changes[0][0] if changes else at))
    relative = tuple(OffsetChange(Instant(minute), minutes) for minute, minutes in changes)
    return ahead, SetOffsets(Instant(start), relative, Instant(at + 1))


def placed(action: SetOffsets, now: Instant) -> SetOffsets:
    """The correction with its minutes counted from ``now``."""

    def instant(minute: int) -> Instant:
        return Instant(now // MICROSECONDS_PER_MINUTE * MICROSECONDS_PER_MINUTE + minute * MICROSECONDS_PER_MINUTE)

    changes = tuple(OffsetChange(instant(change.at), change.offset_minutes) for change in action.changes)
    return dataclasses.replace(
        action,
        effective_from=instant(action.effective_from),
        changes=changes,
        known_until=instant(action.known_until),
    )


@given(st.lists(corrections(), min_size=1, max_size=6), st.lists(st.integers(0, 60 * 24 * 60), max_size=5))
@settings(max_examples=150)
def test_no_correction_moves_what_has_been_and_windows_never_go_back(
    steps: list[tuple[int, SetOffsets]], minutes: list[int]
) -> None:
    now = time_in("2026-01-01", BERLIN)
    directory = founded(constitution(), now)
    dated: dict[Instant, object] = {}
    for index, (ahead, relative) in enumerate(steps, 10):
        now = Instant(now + ahead * MICROSECONDS_PER_MINUTE)
        action = placed(relative, now)
        ruling = set_offsets(Case(directory, Ledger(), now, index, frozenset({"anna"})), action)  # type: ignore[arg-type]
        too_soon = action.effective_from < now + MICROSECONDS_PER_DAY
        assert (ruling is Outcome.OFFSETS_TOO_SOON) == too_soon
        if isinstance(ruling, Directory):
            # Nothing before it begins is dated otherwise: neither what has been nor what the notice is for.
            for back in (0, *minutes):
                instant = Instant(action.effective_from - 1 - back * MICROSECONDS_PER_MINUTE)
                assert ruling.local_date(instant) == directory.local_date(instant)
            directory = ruling
        directory = directory.with_entry(index, now)  # type: ignore[arg-type]
        dated[now] = directory.local_date(now)
        assert all(directory.local_date(instant) == day for instant, day in dated.items())
        # What is remembered of the present day is what the calendar says, after a correction too.
        for later in minutes:
            instant = Instant(now + later * MICROSECONDS_PER_MINUTE)
            assert directory.local_date(instant) == LocalCalendar(directory.calendar.offsets).date_at(instant)
    starts = list(directory.window_starts.items())
    assert starts == sorted(starts)
    assert [index for _, index in starts] == sorted(index for _, index in starts)
