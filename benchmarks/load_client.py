"""A load client: a process that signs its calls beforehand and then makes them, as many at a time as it is told.

Requests and answers stay bytes while the load runs: the client shares the machine with what it measures, and is to
cost little. Some answers are taken apart afterwards, and their receipts verified.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

import grpc

from benchmarks.envelopes import CallMaker
from benchmarks.errors import BenchFailedError
from benchmarks.workload import Population, Stock
from clearing.contract.receipt import receipt_of, verify_receipt
from clearing.errors import ClearingError
from clearing.log.note import Verifier
from clearing.v1.merchant_gateway_pb2 import SubmitResponse

CALL_SECONDS = 60
CONNECT_SECONDS = 10
FAILURES_MAX = 1_000
"""Failed calls after which a client gives up: then it is no longer the load that is measured."""
ANSWERS_KEPT = 8
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sign:
    """Make these stocks of calls ready, in place of those there are; None is the opening and funding of the cards."""

    stocks: tuple[Stock | None, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Make calls: from each stock until its time or its end, then from the next."""

    address: str
    method: str
    callers: int
    start_at_s: float
    """All times are of the monotonic clock, which the processes share."""
    until_s: tuple[float, ...]
    """For each stock."""
    empty: bool = False
    """Not from a stock, but empty messages without end."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of the calls."""

    finished_s: array[float]
    """When each answered call was answered."""
    latencies_s: array[float]
    """How long each of them took."""
    failures: Counter[str]
    """Calls that failed, by gRPC code."""
    receipts_verified: int
    ran_out_at_s: float | None
    """When there was no call left, if that was before the time was over."""


def serve(connection: Connection, stop: Event, population: Population, process: int, processes: int) -> None:
    """Carry out orders until the other end hangs up. ``stop`` ends a run early."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the bench ends its clients itself
    maker = CallMaker(population, process, processes)
    stocks: list[list[bytes]] = []
    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        try:
            match order:
                case Sign():
                    stocks.clear()
                    stocks.extend(maker.funding() if stock is None else maker.calls(stock) for stock in order.stocks)
                    connection.send(sum(map(len, stocks)))
                case Run():
                    calls: list[Iterator[bytes]] = [itertools.repeat(b"")] if order.empty else list(map(iter, stocks))
                    connection.send(_Callers(order, calls, stop).run(population.alliance.verifier))
        except ClearingError as error:
            connection.send(BenchFailedError(str(error)))


@dataclass(slots=True)
class _Callers:
    """Closed loops of calls over one channel: each answer is followed by the next call.

    By futures and their callbacks, since a thread for each caller costs the client nearly twice the time of the CPU.
    """

    order: Run
    stocks: list[Iterator[bytes]]
    stop: Event
    finished_s: array[float] = field(default_factory=lambda: array("d"))
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    failures: Counter[str] = field(default_factory=Counter)
    answers: deque[bytes] = field(default_factory=lambda: deque(maxlen=ANSWERS_KEPT))
    ran_out_at_s: float | None = None
    _method: Any = None
    _calling: int = 0
    _place: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    """Callers start on one thread and go on, after their first answer, on gRPC's."""
    _done: threading.Event = field(default_factory=threading.Event)

    def run(self, verifier: Verifier) -> Ran:
        """Make the calls; return once the last is answered. Raises ``BenchFailedError`` or what verifying raises."""
        options = (("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),)
        with grpc.insecure_channel(self.order.address, options=options) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
            except grpc.FutureTimeoutError:
                raise BenchFailedError(f"nothing answers at {self.order.address} any more") from None
            self._method = channel.unary_unary(self.order.method, None, None)
            time.sleep(max(0.0, self.order.start_at_s - time.monotonic()))
            self._calling = self.order.callers
            for _ in range(self.order.callers):
                self._call()
            if not self._done.wait(max(self.order.until_s) - time.monotonic() + CALL_SECONDS):
                raise BenchFailedError("the load did not come to its end: the gateway has stopped answering")
        verified = 0
        for answer in self.answers:
            for receipt in SubmitResponse.FromString(answer).receipts:
                verify_receipt(receipt_of(receipt), verifier)
                verified += 1
        return Ran(self.finished_s, self.latencies_s, self.failures, verified, self.ran_out_at_s)

    def _call(self) -> None:
        with self._lock:
            request = self._next_request()
            if request is None:
                self._calling -= 1
                if self._calling == 0:
                    self._done.set()
                return
        started_s = time.monotonic()
        future = self._method.future(request, timeout=CALL_SECONDS)
        future.add_done_callback(partial(self._answered, started_s))

    def _answered(self, started_s: float, future: Any) -> None:
        now_s = time.monotonic()
        code = future.code()
        if code is grpc.StatusCode.OK:
            with self._lock:
                self.finished_s.append(now_s)
                self.latencies_s.append(now_s - started_s)
                self.answers.append(future.result())
        else:
            self.failures[code.name] += 1
        self._call()

    def _next_request(self) -> bytes | None:
        while self._place < len(self.stocks) and self.failures.total() < FAILURES_MAX and not self.stop.is_set():
            if time.monotonic() < self.order.until_s[self._place]:
                request = next(self.stocks[self._place], None)
                if request is not None:
                    return request
                if self._place == len(self.stocks) - 1:
                    self.ran_out_at_s = time.monotonic()
            self._place += 1
        return None
