"""The gateway's metrics in Prometheus' form, at an HTTP address of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from clearing.closing import Closing
from clearing.errors import ErrorReason
from clearing.model import Outcome
from clearing.runtime.addresses import is_loopback, split_address
from clearing.runtime.metrics import NO_METRICS, BatchSummary, Metrics, Stage, WriterGauges
from merchant_gateway.server.listening import ListenError

logger = structlog.get_logger()

BATCH_BUCKETS: Final = (1, 10, 50, 100, 200, 500, 1_000, 2_000, 5_000)
SECONDS_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)


class PrometheusMetrics(Metrics):
    """Counts and times since the process began. Any thread may use it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        """What an endpoint shows."""
        registry = self.registry
        decisions = Counter(
            "clearing_decisions", "New decisions on transactions and instructions.", ["outcome"], registry=registry
        )
        self._replayed = Counter("clearing_replays", "Messages that had been decided before.", registry=registry)
        rejections = Counter(
            "clearing_rejections", "Calls turned away before any decision.", ["reason"], registry=registry
        )
        self._batch = Histogram(
            "clearing_batch_decisions", "New decisions of a batch.", buckets=BATCH_BUCKETS, registry=registry
        )
        stages = Histogram(
            "clearing_stage_seconds",
            "How long a batch took in a stage of the writer.",
            ["stage"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._calls = Histogram(
            "clearing_call_seconds",
            "How long a call took, by method and status code.",
            ["method", "code"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        # Every name is there from the start, so that a rate is right from its first event on.
        self._decisions = {outcome: decisions.labels(outcome.name) for outcome in Outcome}
        self._rejections = {reason: rejections.labels(reason.name) for reason in ErrorReason}
        self._stages = {stage: stages.labels(stage.value) for stage in Stage}
        self._calls_by_label: dict[tuple[str, str], Histogram] = {}
        self._last_commit = Gauge(
            "clearing_last_batch_timestamp_seconds", "When the last batch was committed.", registry=registry
        )
        self._pool = Gauge("clearing_pool_transactions", "Transactions that wait for a batch.", registry=registry)
        self._log = Gauge("clearing_log_entries", "Entries in the log.", registry=registry)
        self._able = Gauge("clearing_able", "1 if calls can be decided now, 0 if not.", registry=registry)
        ProcessCollector(registry=registry)

    def watch_writer(self, writer: WriterGauges) -> None:
        """Show the writer's state whenever the metrics are read."""
        self._pool.set_function(writer.transactions_waiting)
        self._log.set_function(writer.log_entries)
        self._able.set_function(writer.is_able)

    def observe_batch(self, batch: BatchSummary) -> None:
        """Count what was decided, and time the stages."""
        for outcome, count in batch.outcomes.items():
            self._decisions[outcome].inc(count)
        if batch.replayed:
            self._replayed.inc(batch.replayed)
        self._batch.observe(batch.decided)
        for stage, seconds in batch.seconds.items():
            self._stages[stage].observe(seconds)
        self._last_commit.set_to_current_time()

    def observe_call(self, method: str, code: str, seconds: float) -> None:
        """Count and time a call."""
        child = self._calls_by_label.get((method, code))
        if child is None:
            child = self._calls_by_label[(method, code)] = self._calls.labels(method, code)
        child.observe(seconds)

    def observe_rejection(self, reason: ErrorReason) -> None:
        """Count a rejection."""
        self._rejections[reason].inc()


class MetricsEndpoint(Closing):
    """An HTTP server that answers ``GET /metrics``; unencrypted and open to all who reach it, hence on loopback."""

    def __init__(self, address: str, metrics: PrometheusMetrics) -> None:
        """Serve at ``address``, host and port; port 0 takes a free one.

        Raises ``AddressError`` if it is no address, ``ListenError`` if it is not loopback or the port is in use.
        """
        host, port = split_address(address)
        if not is_loopback(host):
            raise ListenError(
                f"cannot serve metrics at {address}: {host} is not loopback, and whoever reached it could read them; "
                "choose an address such as 127.0.0.1:9464"
            )
        try:
            started: tuple[WSGIServer, threading.Thread] = start_http_server(
                port, host.strip("[]"), registry=metrics.registry
            )
        except OSError as error:
            raise ListenError(
                f"cannot serve metrics at {address}: {error.strerror or error}; stop the other program or choose "
                "another with --metrics-address"
            ) from None
        self._server, self._thread = started
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def metrics_served(address: str | None) -> Iterator[Metrics]:
    """Metrics that are shown at this address within the block; without one, none are kept.

    Raises what ``MetricsEndpoint`` raises.
    """
    if address is None:
        yield NO_METRICS
        return
    metrics = PrometheusMetrics()
    with MetricsEndpoint(address, metrics) as endpoint:
        logger.info("metrics_served", address=endpoint.address)
        yield metrics
