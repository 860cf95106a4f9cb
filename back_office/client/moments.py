"""Times as they are typed."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clearing.calendar import instant_of, zone_of
from clearing.errors import ClearingError
from clearing.model import Instant


class MomentError(ClearingError):
    """A text is not a time."""


def _zone(time_zone: str) -> ZoneInfo:
    try:
        return zone_of(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise MomentError(f"{time_zone!r} is no IANA time zone, such as Europe/Berlin") from None


def moment(text: str, time_zone: str, option: str) -> Instant:
    """The instant of an ISO 8601 text; without an offset it is local time of the alliance. Raises ``MomentError``."""
    try:
        parsed = datetime.datetime.fromisoformat(text)
        return instant_of(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=_zone(time_zone)))
    except (ValueError, OverflowError):
        raise MomentError(
            f"{option}: {text!r} is no time; write it as 2026-01-31T18:30 (local time of the alliance, {time_zone}) or "
            "with an offset, as 2026-01-31T17:30Z"
        ) from None
