"""The measures: a shape of load for so many seconds, and what came of it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import psutil

from back_office.cli.console import note
from benchmarks.errors import BenchFailedError
from benchmarks.gateway_process import GatewayProcess
from benchmarks.load import CallsMade, LoadClients
from benchmarks.processes import cpu_seconds_with_children, postgres_cpu_seconds
from benchmarks.workload import MERCHANTS, Shape, Stock

WARM_UP_SECONDS_MAX: Final = 1.0
PROBE_SECONDS_MAX: Final = 1.5
STOCK_MARGIN: Final = 1.4
"""Calls made ready for each expected one, so that a faster stretch does not run out of them."""
MOMENT_SECONDS: Final = 1e-3
"""No stretch of time counts as shorter."""
CALLS_PER_ORDER_OF_GROWTH: Final = 1_000
GROWTH_SECONDS_MAX: Final = 600.0
"""For one order of growth."""


@dataclass(frozen=True, slots=True)
class CpuUsed:
    """CPU time by who used it: seconds, seconds in each second, or microseconds a transaction."""

    gateway: float
    postgres: float
    clients: float

    def minus(self, earlier: CpuUsed) -> CpuUsed:
        """What was used since then."""
        return CpuUsed(self.gateway - earlier.gateway, self.postgres - earlier.postgres, self.clients - earlier.clients)

    def times(self, factor: float) -> CpuUsed:
        """So many times as much."""
        return CpuUsed(self.gateway * factor, self.postgres * factor, self.clients * factor)


@dataclass(frozen=True, slots=True)
class Measured:
    """One or more runs of a shape, warm-up excluded."""

    shape: Shape
    seconds: float
    latencies_s: tuple[float, ...]
    """Of every call answered meanwhile."""
    cpu: CpuUsed
    """Seconds in each second."""

    @property
    def transactions(self) -> int:
        """How many were acknowledged meanwhile."""
        return len(self.latencies_s) * self.shape.transactions_per_call

    @property
    def transactions_per_second(self) -> float:
        """The throughput."""
        return self.transactions / self.seconds

    def latency_ms(self, share: float) -> float:
        """The latency that this share of the calls did not exceed."""
        return percentile_ms(sorted(self.latencies_s), share)

    def cpu_us_per_transaction(self) -> CpuUsed:
        """What a transaction took of the CPU, in microseconds."""
        return self.cpu.times(1e6 / self.transactions_per_second if self.transactions else 0.0)


def joined(runs: Sequence[Measured]) -> Measured:
    """Several equally long runs of a shape as one."""
    return Measured(
        runs[0].shape,
        sum(run.seconds for run in runs),
        tuple(latency for run in runs for latency in run.latencies_s),
        CpuUsed(
            sum(run.cpu.gateway for run in runs),
            sum(run.cpu.postgres for run in runs),
            sum(run.cpu.clients for run in runs),
        ).times(1 / len(runs)),
    )


def percentile_ms(latencies_s: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted latencies, in milliseconds; 0 of none."""
    if not latencies_s:
        return 0.0
    return latencies_s[math.ceil(share * len(latencies_s)) - 1] * 1_000


@dataclass(slots=True)
class Bench:
    """A served alliance, and the clients that load it; adds up what was acknowledged and what failed."""

    gateway: GatewayProcess
    postgres: psutil.Process
    clients: LoadClients
    seconds: float
    acknowledged: int = 0
    """Transactions of calls that were answered."""
    failures: Counter[str] = field(default_factory=Counter)
    receipts_verified: int = 0
    _rates: dict[str, float] = field(default_factory=dict)
    """By shape, the most calls a second that were seen."""

    @property
    def warm_up_seconds(self) -> float:
        """How long each run loads before it counts."""
        return min(WARM_UP_SECONDS_MAX, self.seconds / 2)

    def measure(self, shape: Shape, *, merchants: int = MERCHANTS, seconds: float | None = None) -> Measured:
        """Load the gateway with calls of this shape, of the first so many merchants."""
        seconds = seconds or self.seconds
        calls = self.calls_for(shape, self.warm_up_seconds + seconds)
        note(f"{shape.name}: signing {calls * shape.envelopes_per_call:,} envelopes, then {seconds:g} seconds of load")
        self.clients.sign(Stock(shape, calls, merchants))
        return self._run(shape, seconds)

    def calls_for(self, shape: Shape, seconds: float) -> int:
        """For how many calls a stock has to last so long; the first time, a short run of the shape tells."""
        if shape.name not in self._rates:
            probe_seconds = min(PROBE_SECONDS_MAX, self.seconds)
            guess = shape.transactions_per_second_guess / shape.transactions_per_call
            self.clients.sign(Stock(shape, math.ceil(guess * (self.warm_up_seconds + probe_seconds) * STOCK_MARGIN)))
            self._run(shape, probe_seconds)
        return math.ceil(self._rates[shape.name] * seconds * STOCK_MARGIN) + shape.callers

    def grow(self, shape: Shape, transactions: int) -> None:
        """Have the ledger grow to so many acknowledged transactions, unmeasured."""
        while self.acknowledged < transactions:
            missing = math.ceil((transactions - self.acknowledged) / shape.transactions_per_call)
            self.clients.sign(Stock(shape, min(missing, CALLS_PER_ORDER_OF_GROWTH)))
            self.clients.start(self.gateway.address, shape.callers, GROWTH_SECONDS_MAX)
            self.finish(shape)
            note(f"grown to {self.acknowledged:,} of {transactions:,} transactions")

    def finish(self, shape: Shape) -> CallsMade:
        """Wait for the clients, and count what was acknowledged and what failed.

        Raises ``BenchFailedError`` if the gateway is gone, and for the clients' own troubles.
        """
        try:
            made = self.clients.finish()
        except BenchFailedError:
            self.gateway.require_running()  # then it is the gateway's trouble
            raise
        self.gateway.require_running()
        self.acknowledged += len(made.answered) * shape.transactions_per_call
        self.failures += made.failures
        self.receipts_verified += made.receipts_verified
        return made

    def _run(self, shape: Shape, seconds: float) -> Measured:
        start_at_s = self.clients.start(self.gateway.address, shape.callers, self.warm_up_seconds + seconds)
        from_s = start_at_s + self.warm_up_seconds
        time.sleep(max(0.0, from_s - time.monotonic()))
        before = self.cpu_used()
        time.sleep(max(0.0, from_s + seconds - time.monotonic()))
        used = self.cpu_used().minus(before)
        made = self.finish(shape)
        until_s = max(min(from_s + seconds, made.ran_out_at_s or math.inf), from_s + MOMENT_SECONDS)
        # A batch's calls are answered all at once, so count from answer to answer and not from amid a batch.
        first_s, last_s = made.last_answer_s(from_s), made.last_answer_s(until_s)
        measured = Measured(
            shape,
            max(last_s - first_s, MOMENT_SECONDS),
            tuple(made.latencies_s(first_s, last_s)),
            used.times(1 / (until_s - from_s)),
        )
        calls_per_second = len(measured.latencies_s) / measured.seconds
        self._rates[shape.name] = max(1.0, calls_per_second, self._rates.get(shape.name, 0.0))
        return measured

    def cpu_used(self) -> CpuUsed:
        """Seconds of the CPU so far."""
        return CpuUsed(
            cpu_seconds_with_children(self.gateway.process_id),
            postgres_cpu_seconds(self.postgres),
            self.clients.cpu_seconds(),
        )
