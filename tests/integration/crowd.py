"""A crowd of callers, far more than a gateway can serve, which keep to what docs/protocol.md asks of clients.

Each presents an earn, hears how it ended, sends the same again after what ``RetryInfo`` asks and a growing random wait
where it was refused, and goes on with the next. No thread waits for any of them: it is all done by gRPC's callbacks.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from clearing.model import CardToken
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2 import SubmitRequest, SubmitResponse
from clearing.v1.presentment_pb2 import Earn
from tests.integration.alliance import Alliance
from tests.integration.observation import Refusal, refusal_of
from tests.waiting import PATIENCE_SECONDS

SUBMIT = "/clearing.v1.MerchantGateway/Submit"
CALLS_PER_CHANNEL = 80
"""A connection carries at most 100 calls of gRPC's server at a time; the rest would wait at the client."""
CALL_SECONDS = 2 * PATIENCE_SECONDS
FIRST_BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 5.0
GIVE_UP_SECONDS = 3 * PATIENCE_SECONDS


@dataclass(slots=True)
class Sale:
    """What one caller is presenting."""

    request: bytes
    refusals: int = 0


@dataclass(slots=True)
class Heard:
    """What all callers heard."""

    envelopes: list[bytes] = field(default_factory=list)
    """Of the answered calls, as they were sent."""
    answers: list[bytes] = field(default_factory=list)
    """Theirs, in the same order."""
    answer_seconds: list[float] = field(default_factory=list)
    refusals: Counter[Refusal] = field(default_factory=Counter)
    refusal_seconds: list[float] = field(default_factory=list)
    retry_delays_s: set[float] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    """Of calls that ended in another way."""


class Crowd:
    """So many callers at a gateway. They begin with ``start``, and end with what they are presenting by then."""

    def __init__(self, alliance: Alliance, address: str, callers: int, cards: Sequence[CardToken]) -> None:
        self.heard = Heard()
        self._alliance = alliance
        self._callers = callers
        self._cards = itertools.cycle(cards)
        self._lock = threading.RLock()
        self._later: list[tuple[float, int, Sale]] = []
        self._numbers = itertools.count()
        self._at_work = 0
        self._have_come = False
        """Whether each has made its first call. Until then none makes a second, or those would hold up the others."""
        self._resting = 0
        self._ending = threading.Event()
        self._done = threading.Event()
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        self._channels = [
            grpc.insecure_channel(address, options=options) for _ in range(-(-callers // CALLS_PER_CHANNEL))
        ]
        self._methods = itertools.cycle(
            channel.unary_unary(SUBMIT, None, None)  # bytes in, bytes out
            for channel in self._channels
        )
        self._clock = threading.Thread(target=self._send_what_is_due, daemon=True)

    def start(self) -> None:
        """Have every caller make its first call."""
        self._at_work = self._callers
        for sale in [self._sale() for _ in range(self._callers)]:
            self._send(sale)
        with self._lock:
            self._have_come = True
        self._clock.start()
        for _ in range(self._resting):
            self._next()

    def finish(self) -> Heard:
        """Have nobody begin anything more, and wait until all are answered."""
        self._ending.set()
        assert self._done.wait(GIVE_UP_SECONDS), f"{self._at_work} callers were not answered"
        self._clock.join()
        for channel in self._channels:
            channel.close()
        return self.heard

    def _next(self) -> None:
        with self._lock:
            if self._ending.is_set():
                self._at_work -= 1
                if not self._at_work:
                    self._done.set()
                return
            if not self._have_come:
                self._resting += 1
                return
            sale = self._sale()
        self._send(sale)

    def _sale(self) -> Sale:
        transaction = self._alliance.transaction("bakery", next(self._cards), earn=Earn(points=1))
        envelope = self._alliance.envelope(self._alliance.presentment("bakery", transaction))
        return Sale(SubmitRequest(envelopes=[envelope]).SerializeToString())

    def _send(self, sale: Sale) -> None:
        with self._lock:
            method = next(self._methods)
        started_s = time.monotonic()
        call: Any = method.future(sale.request, timeout=CALL_SECONDS)
        call.add_done_callback(lambda done: self._answered(sale, done, time.monotonic() - started_s))

    def _answered(self, sale: Sale, call: Any, seconds: float) -> None:
        if call.code() is grpc.StatusCode.OK:
            with self._lock:
                self.heard.envelopes.append(sale.request)
                self.heard.answers.append(call.result())
                self.heard.answer_seconds.append(seconds)
        elif call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "grpc-status-details-bin" in dict(
            call.trailing_metadata()
        ):
            self._wait(sale, cast(grpc.RpcError, call), seconds)
            return
        else:
            self.heard.failures.append(f"{call.code()} {call.details()}")
        self._next()

    def _wait(self, sale: Sale, error: grpc.RpcError, seconds: float) -> None:
        refusal, delay_s = refusal_of(error), _retry_delay_s(error)
        most_s = min(BACKOFF_SECONDS_MAX, FIRST_BACKOFF_SECONDS * 2**sale.refusals)
        sale.refusals += 1
        due_s = time.monotonic() + delay_s + random.uniform(0, most_s)
        with self._lock:
            self.heard.refusals[refusal] += 1
            self.heard.refusal_seconds.append(seconds)
            self.heard.retry_delays_s.add(delay_s)
            heapq.heappush(self._later, (due_s, next(self._numbers), sale))

    def _send_what_is_due(self) -> None:
        while not self._done.wait(0.005):
            with self._lock:
                due: list[Sale] = []
                while self._later and self._later[0][0] <= time.monotonic():
                    due.append(heapq.heappop(self._later)[2])
            for sale in due:
                self._send(sale)


def receipts_of(heard: Heard) -> list[tuple[Envelope, SubmitResponse]]:
    """What was presented and answered."""
    return [
        (SubmitRequest.FromString(request).envelopes[0], SubmitResponse.FromString(answer))
        for request, answer in zip(heard.envelopes, heard.answers, strict=True)
    ]


def _retry_delay_s(error: grpc.RpcError) -> float:
    status = rpc_status.from_call(cast(grpc.Call, error))
    assert status is not None, "it was found to have one"
    for detail in status.details:
        info = RetryInfo()
        if detail.Is(RetryInfo.DESCRIPTOR):
            detail.Unpack(info)
            milliseconds: int = info.retry_delay.ToMilliseconds()
            return milliseconds / 1_000
    return 0.0
