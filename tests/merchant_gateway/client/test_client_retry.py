"""Sending again: only what can help, within the deadline, never all at once."""

from __future__ import annotations

import grpc
import pytest

from merchant_gateway.client import retry
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.retry import RetryPolicy, call_with_retries

QUICK = RetryPolicy(deadline_seconds=5.0, attempt_seconds=1.0, first_backoff_seconds=0.001, backoff_seconds_max=0.01)


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.attempts_s: list[float] = []
        """When something was tried."""

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the retries read and sleep by."""
    a_clock = Clock()
    monkeypatch.setattr(retry, "time", a_clock)
    return a_clock


def failing(times: int, code: grpc.StatusCode, clock: Clock, retry_delay_seconds: float = 0.0) -> str:
    """The next attempt: fails so many times."""
    clock.attempts_s.append(clock.now_s)
    if len(clock.attempts_s) <= times:
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
def test_what_may_pass_is_tried_again_until_it_succeeds(clock: Clock, code: grpc.StatusCode) -> None:
    assert call_with_retries(lambda timeout: failing(5, code, clock), QUICK) == "done"
    assert len(clock.attempts_s) == 6


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_refusal_is_never_sent_again(clock: Clock, code: grpc.StatusCode) -> None:
    error = GatewayError(code, "no")
    expected = code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED")
    assert error.is_worth_retrying is expected
    if expected:
        return
    with pytest.raises(GatewayError, match="not now"):
        call_with_retries(lambda timeout: failing(1, code, clock), QUICK)
    assert len(clock.attempts_s) == 1


def test_the_deadline_ends_it_with_the_last_error(clock: Clock) -> None:
    policy = RetryPolicy(deadline_seconds=1.0, first_backoff_seconds=0.1, backoff_seconds_max=0.2)
    deadline = clock.now_s + 1.0
    with pytest.raises(GatewayError, match="not now"):
        call_with_retries(lambda timeout: failing(10**6, grpc.StatusCode.UNAVAILABLE, clock), policy)
    assert len(clock.attempts_s) > 2
    least_seconds = 1.0 * retry.LAST_ATTEMPT_SHARE
    assert deadline - least_seconds - 0.2 <= clock.attempts_s[-1] == clock.now_s <= deadline - least_seconds


@pytest.mark.parametrize(("attempt_seconds", "least_seconds"), [(20.0, 0.5), (0.2, 0.2)])
def test_no_attempt_is_begun_whose_missing_answer_would_hide_why_the_others_failed(
    clock: Clock, attempt_seconds: float, least_seconds: float
) -> None:
    policy = RetryPolicy(5.0, attempt_seconds, first_backoff_seconds=0.3, backoff_seconds_max=0.3)

    def attempt(timeout: float) -> str:
        """Answers at once that the pool is full, unless the time is too short for any answer."""
        if timeout < least_seconds - 1e-6:
            raise GatewayError(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time")
        return failing(10**6, grpc.StatusCode.RESOURCE_EXHAUSTED, clock)

    for _ in range(100):
        with pytest.raises(GatewayError) as raised:
            call_with_retries(attempt, policy)
        assert raised.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_attempt_gets_no_more_time_than_is_left() -> None:
    timeouts: list[float] = []
    policy = RetryPolicy(deadline_seconds=0.5, attempt_seconds=20.0, first_backoff_seconds=0.01)
    assert call_with_retries(lambda timeout: timeouts.append(timeout), policy) is None
    assert timeouts == [0.5]


def test_the_delay_that_the_gateway_asks_for_is_waited(clock: Clock) -> None:
    call_with_retries(lambda timeout: failing(1, grpc.StatusCode.RESOURCE_EXHAUSTED, clock, 0.15), QUICK)
    first_s, second_s = clock.attempts_s
    assert second_s - first_s >= 0.15


def test_waits_are_random_and_grow_to_the_maximum() -> None:
    policy = RetryPolicy(first_backoff_seconds=0.1, backoff_seconds_max=5.0)
    first = [policy.wait_seconds(1, 0.0) for _ in range(500)]
    later = [policy.wait_seconds(4, 0.0) for _ in range(500)]
    last = [policy.wait_seconds(10_000, 2.0) for _ in range(500)]
    assert 0.0 <= min(first) < 0.02 < 0.08 < max(first) <= 0.1
    assert 0.6 < max(later) <= 0.8
    assert 2.0 <= min(last) < 3.0 < 6.0 < max(last) <= 7.0
