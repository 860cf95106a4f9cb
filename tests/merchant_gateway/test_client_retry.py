"""Sending again: only what can help, within the deadline, never all at once."""

from __future__ import annotations

import time

import grpc
import pytest

from merchant_gateway.gateway_error import GatewayError
from merchant_gateway.retry import RetryPolicy, call_with_retries

QUICK = RetryPolicy(deadline_seconds=5.0, attempt_seconds=1.0, first_backoff_seconds=0.001, backoff_seconds_max=0.01)


def failing(times: int, code: grpc.StatusCode, attempts: list[float], retry_delay_seconds: float = 0.0) -> str:
    """The next attempt: fails so many times."""
    attempts.append(time.monotonic())
    if len(attempts) <= times:
        raise GatewayError(code, "not now", retry_delay_seconds=retry_delay_seconds)
    return "done"


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    ],
)
def test_what_may_pass_is_tried_again_until_it_succeeds(code: grpc.StatusCode) -> None:
    attempts: list[float] = []
    assert call_with_retries(lambda timeout: failing(5, code, attempts), QUICK) == "done"
    assert len(attempts) == 6


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_refusal_is_never_sent_again(code: grpc.StatusCode) -> None:
    error = GatewayError(code, "no")
    expected = code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED")
    assert error.is_worth_retrying is expected
    if expected:
        return
    attempts: list[float] = []
    with pytest.raises(GatewayError, match="not now"):
        call_with_retries(lambda timeout: failing(1, code, attempts), QUICK)
    assert len(attempts) == 1


def test_the_deadline_ends_it_with_the_last_error() -> None:
    attempts: list[float] = []
    policy = RetryPolicy(deadline_seconds=0.1, first_backoff_seconds=0.01, backoff_seconds_max=0.02)
    started = time.monotonic()
    with pytest.raises(GatewayError, match="not now"):
        call_with_retries(lambda timeout: failing(10**6, grpc.StatusCode.UNAVAILABLE, attempts), policy)
    assert time.monotonic() - started < 0.15
    assert len(attempts) > 2


def test_an_attempt_gets_no_more_time_than_is_left() -> None:
    timeouts: list[float] = []
    policy = RetryPolicy(deadline_seconds=0.5, attempt_seconds=20.0, first_backoff_seconds=0.01)
    assert call_with_retries(lambda timeout: timeouts.append(timeout), policy) is None
    assert 0.0 < timeouts[0] <= 0.5


def test_the_delay_that_the_gateway_asks_for_is_waited() -> None:
    attempts: list[float] = []
    call_with_retries(lambda timeout: failing(1, grpc.StatusCode.RESOURCE_EXHAUSTED, attempts, 0.15), QUICK)
    assert attempts[1] - attempts[0] >= 0.15


def test_waits_are_random_and_grow_to_the_maximum() -> None:
    policy = RetryPolicy(first_backoff_seconds=0.1, backoff_seconds_max=5.0)
    first = [policy.wait_seconds(1, 0.0) for _ in range(500)]
    later = [policy.wait_seconds(4, 0.0) for _ in range(500)]
    last = [policy.wait_seconds(10_000, 2.0) for _ in range(500)]
    assert 0.0 <= min(first) < 0.02 < 0.08 < max(first) <= 0.1
    assert 0.6 < max(later) <= 0.8
    assert 2.0 <= min(last) < 3.0 < 6.0 < max(last) <= 7.0
