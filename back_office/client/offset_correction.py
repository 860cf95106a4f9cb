"""What has to be signed so that the logged offsets are those that this machine's time zone data know."""

from __future__ import annotations

from typing import NamedTuple

from back_office.client.instructing import Unsigned
from back_office.client.machine_offsets import Difference, first_difference, machine_offsets
from clearing.calendar import LocalCalendar
from clearing.contract.decoding import content_digest
from clearing.contract.entry import timestamp_of
from clearing.contract.instruction import encode_offset_changes
from clearing.model import MICROSECONDS_PER_DAY, MICROSECONDS_PER_MINUTE, Instant, OffsetChange, SetOffsets
from clearing.v1 import instruction_pb2

LEEWAY_DAYS = 2
"""From now until a correction begins, at least: 24 hours are asked for when it is decided, and others sign before."""
_YEAR = 365 * MICROSECONDS_PER_DAY


class Correction(NamedTuple):
    """A correction, and why."""

    difference: Difference | None
    """Where the machine's data differ first; None: they know more years than are logged."""
    action: SetOffsets


def correction(
    logged: LocalCalendar, time_zone: str, now: Instant, effective_from: Instant | None = None
) -> Correction | None:
    """What to sign now; None where the machine's data say what is logged, for as long as they know within a year.

    ``effective_from`` in place of the latest time that does: that of the first difference, ``LEEWAY_DAYS`` ahead at
    least. Raises what ``machine_offsets`` raises.
    """
    machine = LocalCalendar(machine_offsets(time_zone, now))
    until = logged.offsets.known_until
    difference = first_difference(logged, machine, now, max(until, now))
    if difference is None and machine.offsets.known_until - until < _YEAR:
        return None
    earliest = now + LEEWAY_DAYS * MICROSECONDS_PER_DAY
    start = effective_from or _whole_minute(max(difference.at if difference is not None else until, earliest))
    changes = [change for change in machine.offsets.changes if change.at > start]
    there = machine.offset_minutes_at(start)
    if there != logged.offset_minutes_at(Instant(start - 1)):
        changes.insert(0, OffsetChange(start, there))
    return Correction(difference, SetOffsets(start, tuple(changes), machine.offsets.known_until))


def correcting(action: SetOffsets) -> Unsigned:
    """Log the correction."""
    message = instruction_pb2.SetOffsets(
        effective_from=timestamp_of(action.effective_from),
        changes=encode_offset_changes(action.changes),
        known_until=timestamp_of(action.known_until),
    )
    parts = ("offsets", content_digest(message).hex()[:12])
    return Unsigned(instruction_pb2.Instruction(set_offsets=message), parts)


def _whole_minute(instant: int) -> Instant:
    """The next whole minute."""
    return Instant(-(-instant // MICROSECONDS_PER_MINUTE) * MICROSECONDS_PER_MINUTE)
