"""Set offsets: corrects the changes of the time zone's offsets that are still to come."""

from __future__ import annotations

from clearing.calendar import LocalCalendar
from clearing.model import MICROSECONDS_PER_DAY, OffsetChange, Outcome, SetOffsets, ZoneOffsets
from clearing.rules.case import Case
from clearing.rules.directory import Directory

NOTICE_HOURS = 24
"""Hours between an entry and the first offset that it may change, at least: nothing that has happened moves to another
day, and whoever relies on the present day or month hears of a change before."""
_NOTICE = NOTICE_HOURS * MICROSECONDS_PER_DAY // 24


def set_offsets(case: Case, action: SetOffsets) -> Directory | Outcome:
    """The directory with these changes in place of all from ``effective_from`` on."""
    directory = case.directory
    if action.effective_from < case.accepted_at + _NOTICE:
        return Outcome.OFFSETS_TOO_SOON
    offsets = corrected(directory.calendar.offsets, action)
    if offsets == directory.calendar.offsets:
        return Outcome.OFFSETS_UNCHANGED
    return directory.with_calendar(LocalCalendar(offsets))


def corrected(offsets: ZoneOffsets, action: SetOffsets) -> ZoneOffsets:
    """The offsets after this correction. A first change to the offset that holds anyway is left out."""
    kept = tuple(change for change in offsets.changes if change.at < action.effective_from)
    return ZoneOffsets(offsets.offset_minutes, _joined(offsets, kept, action.changes), action.known_until)


def _joined(
    offsets: ZoneOffsets, kept: tuple[OffsetChange, ...], added: tuple[OffsetChange, ...]
) -> tuple[OffsetChange, ...]:
    before = kept[-1].offset_minutes if kept else offsets.offset_minutes
    return (*kept, *(added[1:] if added and added[0].offset_minutes == before else added))
