"""A time zone's offsets by this machine's time zone data: for the founding, and to compare with what is logged.

Nothing else reads that data. The rules go by what is logged.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clearing.calendar import LocalCalendar, moment_of
from clearing.contract import bounds
from clearing.errors import ClearingError
from clearing.model import MICROSECONDS_PER_DAY, MICROSECONDS_PER_MINUTE, Instant, OffsetChange, ZoneOffsets

YEARS_LOGGED = 20
"""For how long changes are logged ahead."""
_DAYS_LOGGED = YEARS_LOGGED * 366
_STEP = MICROSECONDS_PER_DAY
"""Two changes of a zone have lain a week apart at least since 1972."""
_LATEST = Instant(4_102_444_740 * 1_000_000)
"""The last minute that the contract can say: before 2100."""


class ZoneDataError(ClearingError):
    """This machine's time zone data cannot say what is asked."""


class Difference(NamedTuple):
    """Where two calendars first differ."""

    at: Instant
    logged_minutes: int
    """Minutes ahead of UTC."""
    machine_minutes: int


def machine_offsets(time_zone: str, since: Instant) -> ZoneOffsets:
    """The zone's offsets from ``since`` on for the next 20 years, as this machine knows them.

    Raises ``Rejection`` if it knows no such zone, ``ZoneDataError`` for offsets that the contract cannot say.
    """
    zone = _zone(time_zone)
    start = since // MICROSECONDS_PER_MINUTE * MICROSECONDS_PER_MINUTE
    end = min(start + _DAYS_LOGGED * MICROSECONDS_PER_DAY, _LATEST)
    first = current = _offset(zone, start)
    changes: list[OffsetChange] = []
    at = Instant(start)
    while at < end:
        following = Instant(min(at + _STEP, end))
        offset = _offset(zone, following)
        if offset != current:
            changes.append(OffsetChange(_first_with(zone, at, following, offset), offset))
            current = offset
        at = following
    known_until = Instant(end if not changes or changes[-1].at < end else end + MICROSECONDS_PER_MINUTE)
    return ZoneOffsets(first, tuple(changes), known_until)


def first_difference(
    logged: LocalCalendar, machine: LocalCalendar, since: Instant, until: Instant
) -> Difference | None:
    """Where the clocks of the two show different times first, from ``since`` until before ``until``."""
    changes = (*logged.offsets.changes, *machine.offsets.changes)
    for at in (since, *sorted(change.at for change in changes if since < change.at < until)):
        minutes = logged.offset_minutes_at(at), machine.offset_minutes_at(at)
        if minutes[0] != minutes[1]:
            return Difference(at, *minutes)
    return None


def offset_text(minutes: int) -> str:
    """An offset as clocks have it, such as ``+05:45``."""
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _zone(time_zone: str) -> ZoneInfo:
    field = "create_alliance.time_zone"
    try:
        return ZoneInfo(bounds.time_zone(time_zone, field))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: an area's folder
        bounds.invalid(field, "must be an IANA time zone that this machine's data has, such as Europe/Berlin")


def _offset(zone: ZoneInfo, instant: int) -> int:
    """Minutes ahead of UTC."""
    offset = moment_of(Instant(instant)).astimezone(zone).utcoffset()
    assert offset is not None, "a zone has an offset"
    minutes, rest = divmod(offset, datetime.timedelta(minutes=1))
    if rest or not bounds.OFFSET_MINUTES_MIN <= minutes <= bounds.OFFSET_MINUTES_MAX:
        raise ZoneDataError(
            f"{zone.key} is {offset} ahead of UTC at {moment_of(Instant(instant))}, and offsets are whole minutes from "
            "-12:00 to +14:00; found the alliance at a later time, or in another zone"
        )
    return minutes


def _first_with(zone: ZoneInfo, before: int, after: int, offset: int) -> Instant:
    """The minute of (``before``, ``after``] from which on the zone has this offset."""
    while after - before > MICROSECONDS_PER_MINUTE:
        middle = (before + after) // 2 // MICROSECONDS_PER_MINUTE * MICROSECONDS_PER_MINUTE
        if _offset(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return Instant(after)
