"""Windows: months of the alliance's time zone as contiguous ranges of entries."""

import datetime
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.calendar import first_day, month_end, next_window
from clearing.model import Instant, WindowId
from tests.rules.script import play, time_in
from tests.zones import calendar_of

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Chatham"]

BOUNDARIES = """
# zone             window   over at
Europe/Berlin      2026-01  2026-01-31T23:00:00Z
Europe/Berlin      2026-03  2026-03-31T22:00:00Z
Europe/Berlin      2026-10  2026-10-31T23:00:00Z
America/New_York   2026-03  2026-04-01T04:00:00Z
America/New_York   2026-10  2026-11-01T04:00:00Z
Australia/Sydney   2026-09  2026-09-30T14:00:00Z
Australia/Sydney   2026-10  2026-10-31T13:00:00Z
Asia/Kathmandu     2028-02  2028-02-29T18:15:00Z
Pacific/Kiritimati 2026-12  2026-12-31T10:00:00Z
America/Asuncion   2017-09  2017-10-01T04:00:00Z
"""

BOUNDARY_ROWS = [line.split() for line in BOUNDARIES.strip().splitlines()[1:]]


@pytest.mark.parametrize(("zone", "window", "over_at"), BOUNDARY_ROWS)
def test_a_month_is_over_at_local_midnight_and_not_a_microsecond_before(zone: str, window: str, over_at: str) -> None:
    end = time_in(over_at, "UTC")
    calendar = calendar_of(zone)
    assert calendar.start_of_day(first_day(next_window(WindowId(window)))) == end
    assert calendar.window_at(Instant(end - 1)) == window
    assert calendar.window_at(end) == next_window(WindowId(window))


def test_a_window_closes_at_the_exact_end_of_its_month_and_an_entry_then_is_in_the_next() -> None:
    world = play("at 2026-03-31T22:00:00Z | ops i0 admit e", time_zone="Europe/Berlin")
    assert set(world.directory.window_starts) == {"2026-01", "2026-04"}
    play(
        """
        at 2026-03-29T00:59:59Z               # the last second before summer time
        a open o1 C1
        at 2026-03-29T01:00:00Z
        a open o2 C2
        at 2026-03-31T21:59:59.999999Z
        ops i1 close 2026-01 -> accepted 0..1
        ops i2 close 2026-02 -> accepted 1..1
        ops i3 close 2026-03 -> window_not_over
        at 2026-03-31T22:00:00Z
        ops i4 close 2026-03 -> accepted 1..6
        ops i5 close 2026-04 -> window_not_over
        """,
        time_zone="Europe/Berlin",
    )


def test_ranges_join_without_gap_and_empty_months_close_too() -> None:
    world = play("""
        at 2026-01-20
        a open o1 C1
        a earn e1 C1 10
        at 2026-02-03
        a burn b1 C1 1
        ops i1 close 2026-01 -> accepted 0..3
        at 2026-06-15
        a burn b2 C1 1
        ops i2 close 2026-03 -> window_out_of_order
        ops i3 close 2026-02 -> accepted 3..5
        ops i4 close 2026-03 -> accepted 5..5
        ops i5 close 2026-05 -> window_out_of_order
        ops i6 close 2026-04 -> accepted 5..5
        ops i7 close 2026-05 -> accepted 5..5
        ops i8 close 2026-06 -> window_not_over
        at 2026-07-01
        ops i9 close 2026-06 -> accepted 5..13
        ops i10 close 2026-06 -> window_already_closed
        ops i11 close 2025-12 -> window_out_of_order
    """)
    ranges = [closed.range for closed in world.directory.closed_windows.values()]
    assert ranges[0].first_index == 0
    assert all(before.end_index == after.first_index for before, after in itertools.pairwise(ranges))


def test_the_closing_entry_belongs_to_the_window_it_is_accepted_in() -> None:
    play("""
        at 2026-02-01T00:00:00
        ops i1 close 2026-01 -> accepted 0..1
        at 2026-03-01T00:00:00
        ops i2 close 2026-02 -> accepted 1..2
    """)


def test_members_at_the_close_get_statements_and_later_ones_do_not() -> None:
    world = play("""
        at 2026-02-01
        ops i1 admit e
        ops i2 close 2026-01 -> accepted 0..1
        ops i3 admit aa
    """)
    assert world.directory.closed_windows[WindowId("2026-01")].merchants == ("a", "b", "c", "d", "e")


steps_in_hours = st.lists(st.integers(0, 24 * 45), min_size=1, max_size=30)


@given(steps_in_hours, st.sampled_from(ZONES))
@settings(max_examples=40)
def test_every_entry_lies_in_the_range_of_its_month(hours: list[int], zone: str) -> None:
    world = play("at 2026-01-02", time_zone=zone)
    window_of_entry = {0: world.directory.window_at(world.now)}
    for number, step in enumerate(hours):
        world.now = Instant(world.now + step * 3_600_000_000)
        window_of_entry[world.index] = world.directory.window_at(world.now)
        play(f"a open o{number} C{number}", world)
    world.now = Instant(world.now + 32 * 86_400_000_000)
    last = world.directory.window_at(world.now)
    while world.directory.next_to_close() < last:
        window_of_entry[world.index] = last
        month = world.directory.next_to_close()
        first = min(index for index, window in window_of_entry.items() if window >= month)
        end = first + sum(window == month for window in window_of_entry.values())
        play(f"ops close-{month} close {month} -> accepted {first}..{end}", world)


@given(st.dates(datetime.date(1975, 1, 1), datetime.date(2090, 1, 1)), st.integers(0, 120))
def test_a_month_end_is_the_day_before_a_first(day: datetime.date, months: int) -> None:
    end = month_end(day, months)
    assert (end + datetime.timedelta(days=1)).day == 1
    assert (end.year - day.year) * 12 + end.month - day.month == months
