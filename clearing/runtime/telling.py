"""Telling an operator what has happened, by log and metrics, so that it changes nothing of what has happened.

A disk that is full, a metric without a place for a new outcome or a defect in a log line must not turn a committed
transaction into a failed call, nor end the thread that answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from clearing.runtime.line_limit import LineLimit

logger = structlog.get_logger()

FAILURES_PER_SECOND_MAX = 5
"""Lines, each with a traceback; what fails once fails at every call."""

_limit = LineLimit(FAILURES_PER_SECOND_MAX)


@contextmanager
def telling(of: str) -> Iterator[None]:
    """A block that only tells: whatever fails in it ends the block and nothing else, and is logged if it can be.

    ``of`` names what it tells of. Who waits for an answer gets it before the block, wherever that is possible.
    """
    try:
        yield
    except Exception as error:  # whatever it was, what it tells of has happened
        with contextlib.suppress(Exception):  # the log itself may be what fails
            if _limit.allows_one():
                logger.error("telling_failed", of=of, lines_left_out=_limit.take_left_out(), exc_info=error)
