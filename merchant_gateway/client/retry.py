"""Sending the same again: when, how long to wait, and when to give up."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from merchant_gateway.client.gateway_error import GatewayError

ResultT = TypeVar("ResultT")

LAST_ATTEMPT_SHARE = 0.1
"""Of the deadline. With less time than that left no attempt is begun: it would most likely find no answer in time, and
that error would take the place of the one that says what is wrong."""

_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, within a deadline."""

    deadline_seconds: float = 60.0
    """From the first attempt on; where the time left is too short for another, the last error is raised."""
    attempt_seconds: float = 20.0
    """What one attempt may take."""
    first_backoff_seconds: float = 0.1
    backoff_seconds_max: float = 5.0

    def wait_seconds(self, failures: int, asked_seconds: float) -> float:
        """How long to wait after so many failures: what the gateway asked for, and a random time of ever wider range.

        All of the backoff is random, so that callers who failed together do not come back together.
        """
        # The exponent is bounded because 2.0 ** 1024 overflows, long after the maximum has been reached.
        most = min(self.backoff_seconds_max, self.first_backoff_seconds * 2.0 ** min(failures - 1, 60))
        return asked_seconds + _random.uniform(0.0, most)


def call_with_retries(attempt: Callable[[float], ResultT], policy: RetryPolicy) -> ResultT:
    """What ``attempt`` comes to; it is given its timeout in seconds, and must send the same bytes each time.

    Raises the ``GatewayError`` of an attempt that is not worth repeating, or of the last one for which there was time.
    """
    deadline = time.monotonic() + policy.deadline_seconds
    last_start = deadline - min(policy.attempt_seconds, policy.deadline_seconds * LAST_ATTEMPT_SHARE)
    failures = 0
    while True:
        try:
            return attempt(min(policy.attempt_seconds, deadline - time.monotonic()))
        except GatewayError as error:
            failures += 1
            wait_seconds = policy.wait_seconds(failures, error.retry_delay_seconds)
            if not error.is_worth_retrying or time.monotonic() + wait_seconds > last_start:
                raise
        time.sleep(wait_seconds)
