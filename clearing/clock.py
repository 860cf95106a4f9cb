"""The clocks an entry's time can come from. Whichever it is, the ledger's time never goes back."""

from __future__ import annotations

import time
from typing import Protocol

from clearing.model import ClockKind, Instant


class WallClock(Protocol):
    """Tells the time of day; injected, so that tests decide it."""

    def __call__(self) -> Instant:
        """The time now."""


def system_time() -> Instant:
    """The machine's clock, to the microsecond."""
    return Instant(time.time_ns() // 1000)


def next_accepted_at(kind: ClockKind, latest: Instant, wall_time: Instant, message_time: Instant) -> Instant:
    """The time of the next entry: the wall clock's or the message's own, as chosen, never before the latest.

    A clock that is stepped back makes entries of one time until it has caught up; order is the log's, not the clock's.
    """
    told = wall_time if kind is ClockKind.SYSTEM else message_time
    return told if told > latest else latest
