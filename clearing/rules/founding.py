"""Create alliance: the log's first entry, signed by the operator keys that it names."""

from __future__ import annotations

from clearing.calendar import LocalCalendar
from clearing.key_id import key_id_of
from clearing.model import CreateAlliance, EntryIndex, Instant, Instruction, KeyId, Outcome
from clearing.rules.case import Case
from clearing.rules.directory import Directory, Key


def found(instruction: Instruction, constitution: CreateAlliance, accepted_at: Instant) -> Directory:
    """The directory that the log's first entry makes."""
    keys: dict[KeyId, Key] = {}
    for registration in constitution.operator_keys:
        key_id = key_id_of(registration.public_key)
        keys[key_id] = Key(key_id, registration, valid_from=max(registration.valid_from or accepted_at, accepted_at))
    calendar = LocalCalendar(constitution.zone_offsets)
    directory = Directory(
        origin=instruction.origin,
        constitution=constitution,
        founded_in=calendar.window_at(accepted_at),
        calendar=calendar,
        founded_at=accepted_at,
        keys=keys,
    )
    return directory.with_entry(EntryIndex(0), accepted_at)


def found_again(case: Case, action: CreateAlliance) -> Outcome:
    """A log has one alliance: whatever its first entry would do later is refused."""
    return Outcome.ALLIANCE_EXISTS
