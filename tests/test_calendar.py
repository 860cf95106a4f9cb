"""Local days and months by logged offsets, compared with real zones and with the definition."""

from __future__ import annotations

import datetime
import zoneinfo
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from back_office.client.machine_offsets import ZoneDataError, machine_offsets
from clearing.calendar import LocalCalendar, instant_of, moment_of
from clearing.model import MICROSECONDS_PER_DAY, MICROSECONDS_PER_MINUTE, Instant, OffsetChange, ZoneOffsets
from tests.zones import calendar_of, offsets_of

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Chatham"]
ODD_ZONES = ["Africa/Cairo", "Asia/Beirut", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe", "America/St_Johns"]


def utc(text: str) -> Instant:
    return instant_of(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC))


SINCE = utc("2008-01-01")
instants = st.integers(SINCE, utc("2027-12-01")).map(Instant)

# zone               day         begins at              because
DAYS = """
Africa/Cairo         2023-04-28  2023-04-27T22:00:00    # no midnight: clocks jump from 00:00 to 01:00
Africa/Cairo         2023-10-26  2023-10-25T21:00:00    # its last hour comes twice; it lasts 25 hours
Africa/Cairo         2023-10-27  2023-10-26T22:00:00
Asia/Beirut          2023-03-26  2023-03-25T22:00:00    # no midnight
America/Havana       2026-03-08  2026-03-08T05:00:00    # no midnight
America/Havana       2026-11-01  2026-11-01T04:00:00    # midnight comes twice; the first begins the day
Pacific/Apia         2011-12-29  2011-12-29T10:00:00
Pacific/Apia         2011-12-30  2011-12-30T10:00:00    # skipped: an empty day
Pacific/Apia         2011-12-31  2011-12-30T10:00:00
Australia/Lord_Howe  2026-04-05  2026-04-04T13:00:00    # half an hour back at 02:00
Australia/Lord_Howe  2026-04-06  2026-04-05T13:30:00
Asia/Kathmandu       2026-01-01  2025-12-31T18:15:00
America/St_Johns     2010-11-07  2010-11-07T02:30:00    # clocks go back at 00:01: the day has begun, and goes on
America/St_Johns     2010-11-08  2010-11-08T03:30:00
"""
DAY_ROWS = [line.split("#")[0].split() for line in DAYS.strip().splitlines()]


@pytest.mark.parametrize(("zone", "day", "begins_at"), DAY_ROWS)
def test_a_day_begins_with_the_first_instant_that_clocks_show_it_or_a_later_one(
    zone: str, day: str, begins_at: str
) -> None:
    calendar, date = calendar_of(zone, SINCE), datetime.date.fromisoformat(day)
    start = calendar.start_of_day(date)
    assert moment_of(start) == moment_of(utc(begins_at))
    assert calendar.date_at(Instant(start - 1)) < date <= calendar.date_at(start)


@given(instants, st.sampled_from(ZONES))
@settings(max_examples=300)
def test_where_no_clock_goes_back_over_midnight_the_day_is_what_the_zone_data_says(instant: Instant, zone: str) -> None:
    assert calendar_of(zone, SINCE).date_at(instant) == moment_of(instant).astimezone(zoneinfo.ZoneInfo(zone)).date()
    assert instant_of(moment_of(instant)) == instant


@given(instants, st.sampled_from([*ZONES, *ODD_ZONES]))
@settings(max_examples=300)
def test_the_logged_offset_is_that_of_the_zone_data(instant: Instant, zone: str) -> None:
    offset = moment_of(instant).astimezone(zoneinfo.ZoneInfo(zone)).utcoffset()
    assert datetime.timedelta(minutes=calendar_of(zone, SINCE).offset_minutes_at(instant)) == offset


@given(instants, st.sampled_from([*ZONES, *ODD_ZONES]), st.sampled_from([0, 1]))
@settings(max_examples=300)
def test_local_times_are_read_as_the_zone_data_reads_them(instant: Instant, zone: str, seconds: int) -> None:
    local = moment_of(instant).astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    for moment in (local, local.replace(hour=2, minute=15), local.replace(hour=0, minute=30, second=seconds)):
        expected = instant_of(moment.replace(tzinfo=zoneinfo.ZoneInfo(zone)))
        if expected > SINCE + 2 * MICROSECONDS_PER_DAY:
            assert calendar_of(zone, SINCE).instant_of_local(moment) == expected


@st.composite
def any_offsets(draw: st.DrawFn) -> ZoneOffsets:
    """Offsets of no real zone: anything that the contract can say, jumps of 26 hours too."""
    minutes = draw(st.lists(st.integers(-720, 840), min_size=1, max_size=8))
    gaps = draw(st.lists(st.integers(1, 4_000), min_size=len(minutes) - 1, max_size=len(minutes) - 1))
    at, changes = SINCE, []
    for gap, (before, offset) in zip(gaps, pairwise(minutes), strict=True):
        at = Instant(at + gap * MICROSECONDS_PER_MINUTE)
        if offset != before:
            changes.append(OffsetChange(at, offset))
    return ZoneOffsets(minutes[0], tuple(changes), Instant(at + MICROSECONDS_PER_MINUTE))


@given(any_offsets(), st.lists(st.integers(-3_000, 30_000), min_size=2, max_size=20))
@settings(max_examples=400)
def test_days_follow_each_other_and_never_go_back(offsets: ZoneOffsets, minutes: list[int]) -> None:
    calendar = LocalCalendar(offsets)
    for before, after in pairwise(sorted(SINCE + each * MICROSECONDS_PER_MINUTE for each in minutes)):
        assert calendar.date_at(Instant(before)) <= calendar.date_at(Instant(after))
        assert calendar.window_at(Instant(before)) <= calendar.window_at(Instant(after))
    for each in minutes:
        instant = Instant(SINCE + each * MICROSECONDS_PER_MINUTE)
        day = calendar.day_at(instant)
        assert day.starts_at <= instant < day.ends_at
        assert calendar.day_at(day.starts_at) == day == calendar.day_at(Instant(day.ends_at - 1))
        assert calendar.date_at(Instant(day.starts_at - 1)) < day.date < calendar.date_at(day.ends_at)
        # However clocks are set, a day lies where the earliest and the latest clocks of the world have it.
        assert calendar_at(-720).date_at(instant) <= day.date <= calendar_at(840).date_at(instant)


def calendar_at(offset_minutes: int) -> LocalCalendar:
    return LocalCalendar(ZoneOffsets(offset_minutes, (), SINCE))


@given(any_offsets(), st.integers(-3_000, 30_000))
@settings(max_examples=300)
def test_a_day_begins_when_the_clocks_first_show_it(offsets: ZoneOffsets, minute: int) -> None:
    calendar = LocalCalendar(offsets)
    instant = Instant(SINCE + minute * MICROSECONDS_PER_MINUTE)
    # The definition, minute by minute: offsets change at whole minutes, so nothing happens in between.
    shown = (
        datetime.date(1970, 1, 1)
        + datetime.timedelta(minutes=at // MICROSECONDS_PER_MINUTE + calendar.offset_minutes_at(Instant(at)))
        for at in range(instant - 3 * MICROSECONDS_PER_DAY, instant + 1, MICROSECONDS_PER_MINUTE)
    )
    assert calendar.date_at(instant) == max(shown)


def test_after_the_last_change_its_offset_holds_for_ever() -> None:
    calendar = LocalCalendar(offsets_of("Europe/Berlin"))
    assert calendar.offsets.changes[-1].offset_minutes == 60
    assert calendar.offset_minutes_at(utc("2099-07-01")) == 60


@pytest.mark.parametrize("zone", ["Africa/Casablanca", "Europe/Berlin", "Asia/Kathmandu"])
def test_twenty_years_of_changes_are_logged(zone: str) -> None:
    offsets = machine_offsets(zone, utc("2026-01-05T12:34:56"))
    assert moment_of(offsets.known_until).year == 2046
    assert len(offsets.changes) == {"Africa/Casablanca": 42, "Europe/Berlin": 40, "Asia/Kathmandu": 0}[zone]


def test_offsets_that_are_no_whole_minutes_cannot_be_logged() -> None:
    with pytest.raises(ZoneDataError, match="found the alliance at a later time"):
        machine_offsets("Africa/Monrovia", utc("1971-06-01"))  # 44 minutes and 30 seconds behind
