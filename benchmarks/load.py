"""The load clients from the outside: starting them, giving orders, putting together what they answer."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from benchmarks.errors import BenchFailedError
from benchmarks.load_client import Ran, Run, Sign, serve
from benchmarks.processes import cpu_seconds
from benchmarks.workload import Population, Stock
from clearing.closing import Closing

PROCESSES: Final = 2
"""Fewer could not keep the gateway busy with single calls; more would only take its time."""
START_DELAY_SECONDS: Final = 0.3
"""Time for the order to reach all clients, and for their channels to open, so that they begin together."""
END_SECONDS: Final = 10.0
SUBMIT: Final = "/clearing.v1.MerchantGateway/Submit"


@dataclass(frozen=True, slots=True)
class CallsMade:
    """What became of all clients' calls."""

    answered: tuple[tuple[float, float], ...]
    """When each was answered, and how long it took, in seconds; by time."""
    failures: Counter[str]
    """By gRPC code."""
    receipts_verified: int
    ran_out_at_s: float | None

    def latencies_s(self, from_s: float, until_s: float) -> list[float]:
        """Of the calls answered in this stretch of time, shortest first; the first moment is not in it, the last is."""
        return sorted(latency for finished, latency in self.answered if from_s < finished <= until_s)

    def last_answer_s(self, until_s: float) -> float:
        """When the last call was answered by then; then, if there was none."""
        return max((finished for finished, _ in self.answered if finished <= until_s), default=until_s)

    def latencies_touching_s(self, from_s: float, until_s: float) -> list[float]:
        """Of the calls under way at any time in this stretch, shortest first."""
        return sorted(
            latency for finished, latency in self.answered if finished >= from_s and finished - latency <= until_s
        )


class LoadClients(Closing):
    """The processes that sign and call. They end with the block, or with this process."""

    def __init__(self, population: Population) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy gRPC's threads in whatever state they are
        self._stop = context.Event()
        self._processes: list[SpawnProcess] = []
        self._connections: list[Connection] = []
        for number in range(PROCESSES):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve, args=(theirs, self._stop, population, number, PROCESSES), daemon=True
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections.append(ours)

    def sign(self, *stocks: Stock | None) -> None:
        """Make stocks of calls ready, shared out evenly; every client signs its own part, all at once."""
        parts = tuple(
            stock and Stock(stock.shape, -(-stock.calls // PROCESSES), stock.merchants, stock.presented_at)
            for stock in stocks
        )
        self._order([Sign(parts)] * PROCESSES)
        self._answers()

    def start(self, address: str, callers: int, *seconds: float, method: str = SUBMIT, empty: bool = False) -> float:
        """Begin to make calls, from each stock for so many seconds; when, by the monotonic clock."""
        self._stop.clear()
        start_at_s = time.monotonic() + START_DELAY_SECONDS
        until_s, total = [], start_at_s
        for each in seconds:
            total += each
            until_s.append(total)
        self._order([Run(address, method, callers // PROCESSES, start_at_s, tuple(until_s), empty)] * PROCESSES)
        return start_at_s

    def stop(self) -> None:
        """Have the clients make no further call."""
        self._stop.set()

    def finish(self) -> CallsMade:
        """Wait until the last call is answered. Raises ``BenchFailedError``."""
        rans: list[Ran] = self._answers()
        ran_out = [ran.ran_out_at_s for ran in rans if ran.ran_out_at_s is not None]
        return CallsMade(
            answered=tuple(sorted(pair for ran in rans for pair in zip(ran.finished_s, ran.latencies_s, strict=True))),
            failures=sum((ran.failures for ran in rans), Counter[str]()),
            receipts_verified=sum(ran.receipts_verified for ran in rans),
            ran_out_at_s=min(ran_out, default=None),
        )

    def cpu_seconds(self) -> float:
        """What the clients have used of the CPU."""
        return sum(cpu_seconds(process.pid) for process in self._processes if process.pid is not None)

    def _order(self, orders: Sequence[Sign | Run]) -> None:
        try:
            for connection, order in zip(self._connections, orders, strict=True):
                connection.send(order)
        except OSError:
            raise BenchFailedError(GONE) from None

    def _answers(self) -> list[Any]:
        answers = []
        for connection in self._connections:
            try:
                answers.append(connection.recv())
            except (EOFError, OSError):
                raise BenchFailedError(GONE) from None
        for answer in answers:
            if isinstance(answer, BenchFailedError):
                raise answer
        return answers

    def close(self) -> None:
        """End the processes."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.terminate()
            process.join(END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


GONE: Final = "a load client has ended by itself; what it wrote above says why"
