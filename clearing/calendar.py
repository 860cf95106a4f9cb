"""Days, months and windows in the alliance's time zone."""

from __future__ import annotations

import calendar
import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from clearing.model import MICROSECONDS_PER_SECOND, Instant, WindowId

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECONDS_PER_QUARTER_HOUR = 900 * MICROSECONDS_PER_SECOND


@lru_cache(maxsize=64)
def zone_of(time_zone: str) -> ZoneInfo:
    """The IANA zone of this name; ``zoneinfo.ZoneInfoNotFoundError`` or ``ValueError`` if there is none."""
    return ZoneInfo(time_zone)


@lru_cache(maxsize=4096)
def _local_date_throughout(quarter_hour: int, time_zone: str) -> datetime.date | None:
    """The local day throughout a quarter hour of UTC; None where it changes within it.

    It does where an offset is no whole number of quarter hours, or clocks are put back at a minute past midnight.
    """
    start = quarter_hour * _MICROSECONDS_PER_QUARTER_HOUR
    first = _local_date(Instant(start), time_zone)
    last = _local_date(Instant(start + _MICROSECONDS_PER_QUARTER_HOUR - 1), time_zone)
    return first if first == last else None


def _local_date(instant: Instant, time_zone: str) -> datetime.date:
    return moment_of(instant).astimezone(zone_of(time_zone)).date()


def local_date(instant: Instant, time_zone: str) -> datetime.date:
    """The local day that ``instant`` falls on."""
    day = _local_date_throughout(instant // _MICROSECONDS_PER_QUARTER_HOUR, time_zone)
    return day if day is not None else _local_date(instant, time_zone)


def window_of(instant: Instant, time_zone: str) -> WindowId:
    """The window that ``instant`` falls in: its local month."""
    return window_of_date(local_date(instant, time_zone))


@lru_cache(maxsize=4096)
def window_of_date(day: datetime.date) -> WindowId:
    """The window of a local day."""
    return WindowId(f"{day.year:04d}-{day.month:02d}")


def first_day(window: WindowId) -> datetime.date:
    """The first local day of a window."""
    year, month = window.split("-")
    return datetime.date(int(year), int(month), 1)


def next_window(window: WindowId) -> WindowId:
    """The window after this one."""
    return window_of_date(month_end(first_day(window)) + datetime.timedelta(days=1))


def month_end(day: datetime.date, months_later: int = 0) -> datetime.date:
    """The last day of the month so many months after the month of ``day``."""
    months = day.year * 12 + (day.month - 1) + months_later
    year, month = divmod(months, 12)
    return datetime.date(year, month + 1, calendar.monthrange(year, month + 1)[1])


def start_of_day(day: datetime.date, time_zone: str) -> Instant:
    """The first instant of a local day."""
    local_midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=zone_of(time_zone))
    return instant_of(local_midnight)


def instant_of(moment: datetime.datetime) -> Instant:
    """The instant of an aware ``datetime``, exactly."""
    return Instant((moment - _EPOCH) // datetime.timedelta(microseconds=1))


def moment_of(instant: Instant) -> datetime.datetime:
    """The ``datetime`` in UTC of an instant, exactly."""
    return _EPOCH + datetime.timedelta(microseconds=instant)
