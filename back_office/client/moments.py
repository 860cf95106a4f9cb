"""Times as they are typed, and as they are shown."""

from __future__ import annotations

import datetime

from back_office.errors import BackOfficeError
from clearing.calendar import LocalCalendar, instant_of, moment_of
from clearing.model import Instant


def moment(text: str, calendar: LocalCalendar, option: str) -> Instant:
    """The instant of an ISO 8601 text; without an offset it is local time of the alliance.

    Raises ``BackOfficeError``.
    """
    try:
        parsed = datetime.datetime.fromisoformat(text)
        return instant_of(parsed) if parsed.tzinfo is not None else calendar.instant_of_local(parsed)
    except (ValueError, OverflowError):
        raise BackOfficeError(
            f"{option}: {text!r} is no time; write it as 2026-01-31T18:30 (local time of the alliance) or with an "
            "offset, as 2026-01-31T17:30Z"
        ) from None


def time_text(instant: Instant | None) -> str:
    """A time in ISO 8601, in UTC; empty where there is none."""
    if instant is None:
        return ""
    return moment_of(instant).astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
