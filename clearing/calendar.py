"""Days, months and windows by the offsets that are logged, never by a machine's time zone data.

**A local day begins with the first instant at which the alliance's clocks show its date or a later one, and lasts until
the next begins.** So days follow each other without gap, and never go back: where clocks are put back across midnight
(St. John's until 2011, at 00:01), the day that has begun goes on; where they skip midnight (Beirut, Cairo), the day
begins with the jump; where they skip a whole date (Apia, 30 December 2011), that day is empty. A month is its days.
"""

from __future__ import annotations

import calendar
import datetime
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from clearing.model import MICROSECONDS_PER_DAY, MICROSECONDS_PER_MINUTE, Instant, WindowId, ZoneOffsets

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()
_BEFORE_ALL: Final = -(2**63)
_AFTER_ALL: Final = 2**63


class Day(NamedTuple):
    """A local day: from its first instant until before the next day's."""

    date: datetime.date
    window: WindowId
    starts_at: Instant
    ends_at: Instant


@dataclass(frozen=True, slots=True)
class LocalCalendar:
    """What the offsets make of instants; a value, and equal where the offsets are."""

    offsets: ZoneOffsets
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """The instant from which each of the offsets holds."""
    _offsets: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Microseconds by which local time is ahead of UTC."""
    _reached: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """For each of the offsets: the latest day that the clocks showed before it holds, as a proleptic ordinal."""

    def __post_init__(self) -> None:
        """Prepare what is asked for again and again."""
        changes = self.offsets.changes
        starts = (_BEFORE_ALL, *(change.at for change in changes))
        minutes = (self.offsets.offset_minutes, *(change.offset_minutes for change in changes))
        offsets = tuple(each * MICROSECONDS_PER_MINUTE for each in minutes)
        reached = [0]
        for start, offset in zip(starts[1:], offsets, strict=False):
            reached.append(max(reached[-1], _ordinal(start - 1 + offset)))
        object.__setattr__(self, "_starts", starts)
        object.__setattr__(self, "_offsets", offsets)
        object.__setattr__(self, "_reached", tuple(reached))

    def offset_minutes_at(self, instant: Instant) -> int:
        """Minutes by which the alliance's clocks are ahead of UTC at ``instant``."""
        return self._offsets[bisect_right(self._starts, instant) - 1] // MICROSECONDS_PER_MINUTE

    def date_at(self, instant: Instant) -> datetime.date:
        """The local day that ``instant`` falls on."""
        place = bisect_right(self._starts, instant) - 1
        shown = _ordinal(instant + self._offsets[place])
        return datetime.date.fromordinal(max(shown, self._reached[place]))

    def window_at(self, instant: Instant) -> WindowId:
        """The window that ``instant`` falls in: its local month."""
        return window_of_date(self.date_at(instant))

    def start_of_day(self, day: datetime.date) -> Instant:
        """The first instant of a local day; of a day that is skipped, that of the next one."""
        ordinal = day.toordinal()
        # The last of the offsets before which the clocks had not shown this day yet: it begins while that one holds, or
        # with the first instant of it.
        place = max(0, _last_before(self._reached, ordinal))
        midnight = (ordinal - _EPOCH_DAY) * MICROSECONDS_PER_DAY - self._offsets[place]
        return Instant(max(self._starts[place], midnight))

    def day_at(self, instant: Instant) -> Day:
        """The local day of ``instant``, with its first and last instant."""
        date = self.date_at(instant)
        following = self.start_of_day(date + datetime.timedelta(days=1))
        return Day(date, window_of_date(date), self.start_of_day(date), following)

    def instant_of_local(self, moment: datetime.datetime) -> Instant:
        """The first instant at which the alliance's clocks show a ``datetime`` without a zone.

        Where they skip it, it is read as if they had not been put forward yet (PEP 495, fold 0).
        """
        local = instant_of(moment.replace(tzinfo=datetime.UTC))
        for place, end in enumerate((*self._starts[1:], _AFTER_ALL)):
            instant = local - self._offsets[place]
            if instant < end:
                # Before this offset's first instant: the clocks skipped it, and the offset before still counts.
                return Instant(instant if instant >= self._starts[place] else local - self._offsets[place - 1])
        raise AssertionError("the last offset holds for ever")

    def local_text(self, instant: Instant) -> str:
        """The local time of ``instant`` with its offset, in ISO 8601, to the second."""
        zone = datetime.timezone(datetime.timedelta(minutes=self.offset_minutes_at(instant)))
        return moment_of(instant).astimezone(zone).isoformat(timespec="seconds")


def _ordinal(local: int) -> int:
    """The date that clocks show, as a proleptic ordinal; ``local`` in microseconds since 1970 of local time."""
    return _EPOCH_DAY + local // MICROSECONDS_PER_DAY


def _last_before(reached: tuple[int, ...], ordinal: int) -> int:
    """The last place whose number is smaller than ``ordinal``; the numbers never go down."""
    return bisect_right(reached, ordinal - 1) - 1


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


def month_start(day: datetime.date) -> datetime.date:
    """The first day of the month of ``day``."""
    return day.replace(day=1)


def month_end(day: datetime.date, months_later: int = 0) -> datetime.date:
    """The last day of the month so many months after the month of ``day``."""
    months = day.year * 12 + (day.month - 1) + months_later
    year, month = divmod(months, 12)
    return datetime.date(year, month + 1, calendar.monthrange(year, month + 1)[1])


def instant_of(moment: datetime.datetime) -> Instant:
    """The instant of an aware ``datetime``, exactly."""
    return Instant((moment - _EPOCH) // datetime.timedelta(microseconds=1))


def moment_of(instant: Instant) -> datetime.datetime:
    """The ``datetime`` in UTC of an instant, exactly."""
    return _EPOCH + datetime.timedelta(microseconds=instant)
