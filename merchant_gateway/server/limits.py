"""How much one merchant may ask for: calls and transactions a second, so that none can take the others' share.

Each limit is a token bucket, kept as the one number of the generic cell rate algorithm (ITU-T I.371): the time at
which the bucket is full again. A call is let in while its merchant is within the burst, whatever the call's own size,
and pays for all of it: so the largest call always gets through, and the rate holds in the long run. Counted is what is
authenticated; nobody can use up another's share.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from clearing.errors import ErrorReason, Rejection
from clearing.model import MerchantId

NANOSECONDS_PER_SECOND = 1_000_000_000
NANOSECONDS_PER_MILLISECOND = 1_000_000

MonotonicClock = Callable[[], int]
"""Nanoseconds that never go back."""


@dataclass(frozen=True, slots=True)
class MerchantLimits:
    """What each merchant may ask for. The defaults are above what a small machine does, and stop runaway loops only."""

    calls_per_second: int = 5_000
    transactions_per_second: int = 50_000
    burst_seconds: int = 2
    """So much of either may come at once after a rest."""


class _Buckets:
    """One limit, for all merchants. Whoever uses it holds the lock."""

    def __init__(self, per_second: int, burst_seconds: int) -> None:
        self._per_second = per_second
        self._burst_ns = burst_seconds * NANOSECONDS_PER_SECOND
        self._full_at_ns: dict[MerchantId, int] = {}
        """Members only, so it stays as small as the alliance is."""

    def wait_ns(self, merchant: MerchantId, now_ns: int) -> int:
        """How long until the merchant may come; 0 or less: now."""
        return self._full_at_ns.get(merchant, now_ns) - now_ns - self._burst_ns

    def take(self, merchant: MerchantId, count: int, now_ns: int) -> None:
        """Pay for so many."""
        full_at_ns = max(self._full_at_ns.get(merchant, now_ns), now_ns)
        self._full_at_ns[merchant] = full_at_ns + count * NANOSECONDS_PER_SECOND // self._per_second


class RateLimiter:
    """Counts what merchants ask for. Any thread may use it."""

    def __init__(self, limits: MerchantLimits, clock: MonotonicClock = time.monotonic_ns) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._calls = _Buckets(limits.calls_per_second, limits.burst_seconds)
        self._transactions = _Buckets(limits.transactions_per_second, limits.burst_seconds)

    def take_call(self, merchant: MerchantId, transactions: int = 0) -> None:
        """Let a call of the merchant in, with so many transactions.

        Raises ``Rejection`` with CALL_RATE_LIMIT or TRANSACTION_RATE_LIMIT and how long to wait; then nothing is paid.
        """
        now_ns = self._clock()
        with self._lock:
            self._require(self._calls, merchant, now_ns, ErrorReason.CALL_RATE_LIMIT, self._limits.calls_per_second)
            if transactions:
                self._require(
                    self._transactions,
                    merchant,
                    now_ns,
                    ErrorReason.TRANSACTION_RATE_LIMIT,
                    self._limits.transactions_per_second,
                )
                self._transactions.take(merchant, transactions, now_ns)
            self._calls.take(merchant, 1, now_ns)

    def take_more(self, merchant: MerchantId, transactions: int) -> None:
        """Pay for more transactions of a call that is let in already."""
        now_ns = self._clock()
        with self._lock:
            self._transactions.take(merchant, transactions, now_ns)

    @staticmethod
    def _require(buckets: _Buckets, merchant: MerchantId, now_ns: int, reason: ErrorReason, per_second: int) -> None:
        wait_ns = buckets.wait_ns(merchant, now_ns)
        if wait_ns > 0:
            what = "calls" if reason is ErrorReason.CALL_RATE_LIMIT else "transactions"
            raise Rejection(
                reason,
                f"{merchant} is above its limit of {per_second:,} {what} a second; wait, and send the same again",
                retry_delay_ms=-(-wait_ns // NANOSECONDS_PER_MILLISECOND),
            )
