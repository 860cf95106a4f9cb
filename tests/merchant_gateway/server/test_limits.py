"""How much a merchant may ask for, on a clock that the test moves."""

from __future__ import annotations

import pytest

from clearing.errors import ErrorReason, Rejection
from clearing.model import MerchantId
from merchant_gateway.server.limits import NANOSECONDS_PER_SECOND, MerchantLimits, RateLimiter

BAKERY, CINEMA = MerchantId("bakery"), MerchantId("cinema")
LIMITS = MerchantLimits(calls_per_second=10, transactions_per_second=1_000, burst_seconds=2)


class Clock:
    """Stands still until it is moved."""

    now_ns = 5_000 * NANOSECONDS_PER_SECOND

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * NANOSECONDS_PER_SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> RateLimiter:
    return RateLimiter(LIMITS, clock)


def calls_let_in(limiter: RateLimiter, merchant: MerchantId = BAKERY, transactions: int = 0, most: int = 1_000) -> int:
    """How many calls come through at once."""
    for made in range(most):
        try:
            limiter.take_call(merchant, transactions)
        except Rejection:
            return made
    return most


def rejection(limiter: RateLimiter, transactions: int = 0) -> Rejection:
    with pytest.raises(Rejection) as raised:
        limiter.take_call(BAKERY, transactions)
    return raised.value


def test_after_a_burst_calls_come_at_their_rate(limiter: RateLimiter, clock: Clock) -> None:
    assert calls_let_in(limiter) == 21  # two seconds' worth, and the one that fills the bucket
    for _ in range(5):
        clock.wait(1)
        assert calls_let_in(limiter) == 10
    clock.wait(3_600)
    assert calls_let_in(limiter) == 21


def test_a_refusal_names_the_limit_and_says_exactly_how_long_to_wait(limiter: RateLimiter, clock: Clock) -> None:
    calls_let_in(limiter)
    refused = rejection(limiter)
    assert (refused.reason, refused.retry_delay_ms) == (ErrorReason.CALL_RATE_LIMIT, 100)
    assert "10 calls a second" in str(refused)
    clock.wait(0.099)
    assert rejection(limiter).retry_delay_ms == 1
    clock.wait(0.001)
    assert calls_let_in(limiter) == 1


def test_transactions_have_a_limit_of_their_own(limiter: RateLimiter, clock: Clock) -> None:
    limiter.take_call(BAKERY, 2_500)
    refused = rejection(limiter, 1)
    assert (refused.reason, refused.retry_delay_ms) == (ErrorReason.TRANSACTION_RATE_LIMIT, 500)
    assert "1,000 transactions a second" in str(refused)
    limiter.take_call(BAKERY)  # a read
    clock.wait(0.5)
    limiter.take_call(BAKERY, 1)


def test_a_call_larger_than_the_bucket_gets_through_and_is_paid_for_afterwards(
    limiter: RateLimiter, clock: Clock
) -> None:
    limiter.take_call(BAKERY, 100)
    limiter.take_more(BAKERY, 20_000)
    clock.wait(18)
    assert rejection(limiter, 1).reason is ErrorReason.TRANSACTION_RATE_LIMIT
    clock.wait(0.1)
    limiter.take_call(BAKERY, 1)


def test_what_is_refused_is_not_paid_for(limiter: RateLimiter, clock: Clock) -> None:
    limiter.take_call(BAKERY, 3_000)
    for _ in range(1_000):
        rejection(limiter, 500)
    clock.wait(1)
    assert calls_let_in(limiter) == 21


def test_no_merchant_uses_up_anothers_share(limiter: RateLimiter) -> None:
    calls_let_in(limiter, BAKERY, 100)
    assert calls_let_in(limiter, CINEMA) == 21


def test_in_the_long_run_no_more_than_the_rate_comes_through(limiter: RateLimiter, clock: Clock) -> None:
    let_in = 0
    for _ in range(10_000):
        clock.wait(0.01)
        let_in += calls_let_in(limiter, transactions=1, most=1)
    assert abs(let_in - 1_020) <= 1  # 100 seconds at 10, and the burst
