"""Step 4 of a transaction's way: the pool, where calls wait for the writer's next batch.

Bounded by transactions, not by calls, since they are what costs time. Any thread puts calls in; the writer's thread
takes them out, in order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from clearing.contract.receipt import Receipt
from clearing.deciding.authentication import SignedMessage, SignedPresentment
from clearing.errors import ErrorReason, Rejection

POOL_TRANSACTIONS_MAX = 20_000
"""Transactions that may wait: about a second or two of work, so that a till hears "later" rather than nothing."""
BATCH_TRANSACTIONS_MAX = 2_000
"""Transactions after which a batch takes no further call, so that nobody waits for a long one."""

Reply = Receipt | Rejection


@dataclass(frozen=True, slots=True)
class Call:
    """Messages that came together and are answered together."""

    messages: Sequence[SignedMessage]
    transactions: int
    replies: Future[list[Reply]] = field(default_factory=Future)

    def turn_away(self, rejection: Rejection) -> None:
        """Answer the whole call with a rejection, unless it is answered already."""
        if not self.replies.done():
            self.replies.set_exception(_copy(rejection))


class Pool:
    """Calls that wait."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._transactions = 0
        self._expected = 0
        """Messages of calls that are being authenticated."""
        self._changed = threading.Condition()
        self._closed: Rejection | None = None
        """Once set, why no further call is taken."""
        self._wanted = 1
        """For how many transactions the writer's thread waits."""
        self._woken = False

    @property
    def is_open(self) -> bool:
        """Whether calls are taken."""
        return self._closed is None

    @property
    def transactions_waiting(self) -> int:
        """Transactions of the calls that wait."""
        return self._transactions

    @contextmanager
    def room_for(self, messages: int) -> Iterator[None]:
        """Keep room for a call of so many messages until it is put in, which is to happen within the block.

        Raises ``Rejection`` with POOL_FULL: before the call has cost anything, so that refusing many costs those little
        that are taken.
        """
        with self._changed:
            if self._transactions + self._expected + messages > POOL_TRANSACTIONS_MAX:
                raise self._full()
            self._expected += messages
        try:
            yield
        finally:
            with self._changed:
                self._expected -= messages

    def put(self, messages: Sequence[SignedMessage]) -> Call:
        """Have the messages wait as one call.

        Raises ``Rejection`` with POOL_FULL, or with what the pool was closed for; then none of them was taken.
        """
        call = Call(messages, sum(map(_weight, messages)))
        with self._changed:
            if self._closed is not None:
                raise _copy(self._closed)
            if self._calls and self._transactions + call.transactions > POOL_TRANSACTIONS_MAX:
                raise self._full()
            self._calls.append(call)
            self._transactions += call.transactions
            if self._transactions >= self._wanted:
                self._changed.notify()
        return call

    def take_batch(self, wait_seconds: float, at_least: int = 1) -> list[Call] | None:
        """The calls of the next batch; None once the pool is closed and empty.

        Waits until ``at_least`` so many transactions are there, or somebody wakes it; then, and once the time is over,
        it takes what there is, which may be nothing.
        """
        with self._changed:
            if self._transactions < at_least and self._closed is None and not self._woken:
                self._wanted = at_least
                self._changed.wait(wait_seconds)
            self._woken = False
            if not self._calls and self._closed is not None:
                return None
            return self._take(BATCH_TRANSACTIONS_MAX)

    def wake(self) -> None:
        """Have the writer's thread wait no longer, or not at all if it does not wait now."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def close(self, rejection: Rejection) -> None:
        """Take no further call, for this reason unless there is one already; those that wait can still be taken out."""
        with self._changed:
            if self._closed is None:
                self._closed = rejection
            self._changed.notify()

    def empty(self, rejection: Rejection) -> None:
        """Take no further call, and turn away those that wait."""
        with self._changed:
            self._closed = rejection
            calls = self._take(self._transactions + 1)
        for call in calls:
            call.turn_away(rejection)

    def _full(self) -> Rejection:
        waiting = self._transactions + self._expected
        return Rejection(
            ErrorReason.POOL_FULL, f"{waiting:,} transactions wait already; send again after the delay in RetryInfo"
        )

    def _take(self, transactions_max: int) -> list[Call]:
        calls: list[Call] = []
        transactions = 0
        while self._calls and transactions < transactions_max:
            call = self._calls.popleft()
            calls.append(call)
            transactions += call.transactions
        self._transactions -= transactions
        return calls


def _weight(message: SignedMessage) -> int:
    return len(message.presentment.transactions) if isinstance(message, SignedPresentment) else 1


def _copy(rejection: Rejection) -> Rejection:
    """Its like for one caller: an exception that is raised over and over keeps the frames of every time."""
    return Rejection(rejection.reason, rejection.message, field=rejection.field)
