"""How an alliance stands, and what somebody has to see to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from back_office.client.keys import RegisteredKey
from back_office.client.machine_offsets import Difference, ZoneDataError, first_difference, machine_offsets, offset_text
from back_office.client.windows import Window
from clearing.calendar import LocalCalendar, next_window
from clearing.errors import Rejection
from clearing.model import MICROSECONDS_PER_DAY, Instant, WindowId
from clearing.rules.directory import WindowStatus

KEY_ENDS_DAYS = 30
"""How long before a key ends it has to be seen to."""
OFFSETS_YEARS = 2
"""How far ahead the machine's offsets are compared, and how long before the logged ones end it has to be seen to."""
_OFFSETS_AHEAD = OFFSETS_YEARS * 365 * MICROSECONDS_PER_DAY


@dataclass(frozen=True, slots=True)
class OffsetStatus:
    """The logged offsets, beside those of this machine's time zone data."""

    difference: Difference | None
    """Where they differ first, within two years."""
    known_until: Instant
    attention: tuple[str, ...]


def offset_status(logged: LocalCalendar, time_zone: str, now: Instant) -> OffsetStatus:
    """What is to be said of the offsets."""
    attention: list[str] = []
    difference = None
    try:
        machine = LocalCalendar(machine_offsets(time_zone, now))
        difference = first_difference(logged, machine, now, Instant(now + _OFFSETS_AHEAD))
    except (Rejection, ZoneDataError) as error:
        attention.append(f"this machine's time zone data cannot be compared with the log: {error}")
    if difference is not None:
        attention.append(
            f"from {logged.local_text(difference.at)} on the log says {offset_text(difference.logged_minutes)}, and "
            f"this machine's time zone data say {offset_text(difference.machine_minutes)}; if they are right, sign: "
            "clearing alliance offsets"
        )
    known_until = logged.offsets.known_until
    if known_until - now < _OFFSETS_AHEAD:
        attention.append(
            f"changes of the clocks are logged until {logged.local_text(known_until)} only; sign more: "
            "clearing alliance offsets"
        )
    return OffsetStatus(difference, known_until, tuple(attention))


def unsettled(windows: Sequence[Window]) -> list[Window]:
    """Those that somebody has work with, or will have."""
    return [window for window in windows if window.status is not WindowStatus.SETTLED]


def late_windows(windows: Sequence[Window], present: WindowId) -> list[str]:
    """What to say of windows that are unsettled though the month after them is over too."""
    return [
        f"{window.window} is {window.status_name}, and the month after it is over; see: "
        f"clearing window show {window.window}"
        for window in unsettled(windows)
        if next_window(window.window) < present
    ]


@dataclass(frozen=True, slots=True)
class EndingKey:
    """A valid key that ends soon."""

    key: RegisteredKey
    valid_until: Instant


def ending_keys(keys: Sequence[RegisteredKey], now: Instant) -> list[EndingKey]:
    """Valid keys that end within 30 days."""
    return [
        EndingKey(key, key.valid_until)
        for key in keys
        if key.valid_until is not None
        and key.revoked_at is None
        and 0 < key.valid_until - now <= KEY_ENDS_DAYS * MICROSECONDS_PER_DAY
    ]
