"""Time zones' offsets for tests, as an alliance that was founded when 2016 began logs them."""

from __future__ import annotations

from functools import lru_cache

from back_office.client.machine_offsets import machine_offsets
from clearing.calendar import LocalCalendar
from clearing.model import Instant, ZoneOffsets

NEW_YEAR_2016 = Instant(1_451_606_400_000_000)


@lru_cache(maxsize=1024)
def offsets_of(time_zone: str, since: Instant = NEW_YEAR_2016) -> ZoneOffsets:
    """The zone's offsets from ``since`` on."""
    return machine_offsets(time_zone, since)


@lru_cache(maxsize=1024)
def calendar_of(time_zone: str, since: Instant = NEW_YEAR_2016) -> LocalCalendar:
    """The zone's days and months by its offsets from ``since`` on."""
    return LocalCalendar(offsets_of(time_zone, since))
