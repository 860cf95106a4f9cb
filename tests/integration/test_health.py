"""What load balancers and operators ask a gateway: health that tells the truth, and the list of its services."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from clearing.cli.assembly import Gateway
from clearing.store import embedded
from clearing.v1 import merchant_gateway_pb2
from merchant_gateway.server import SERVICES
from tests.integration.alliance import Alliance, founded
from tests.integration.command import served
from tests.integration.test_writer import earn, held_up, is_held_up, take_lock_away, wait_until
from tests.integration.tills import at_work

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Status: TypeAlias = "health_pb2.HealthCheckResponse.ServingStatus.ValueType"


def status(alliance: Alliance, service: str = "") -> Status:
    request = health_pb2.HealthCheckRequest(service=service)
    return HealthStub(alliance.channel).Check(request, timeout=5).status


class Watch:
    """A load balancer's stream of a gateway's health."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.seen: list[tuple[Status, float]] = []
        self.ended_at: float | None = None
        self._stream = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for response in self._stream:
                self.seen.append((response.status, time.monotonic()))
        except grpc.RpcError:
            pass  # the gateway has gone, or the test has seen enough
        self.ended_at = time.monotonic()

    def statuses(self) -> list[Status]:
        return [each for each, _ in self.seen]

    def end(self) -> None:
        self._stream.cancel()
        self._thread.join()


@contextmanager
def watched(alliance: Alliance) -> Iterator[Watch]:
    """A watch that knows the present state already."""
    watch = Watch(alliance.channel)
    try:
        wait_until(lambda: watch.seen != [])
        yield watch
    finally:
        watch.end()


def test_every_service_and_the_server_as_a_whole_are_serving(alliance: Alliance) -> None:
    assert {status(alliance, service) for service in ("", *SERVICES)} == {SERVING}


def test_a_gateway_that_was_fenced_says_so_to_those_who_watch(alliance: Alliance) -> None:
    with watched(alliance) as watch:
        take_lock_away(alliance.engine)
        with Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0"):
            wait_until(lambda: watch.statuses() == [SERVING, NOT_SERVING], 40)
            assert {status(alliance, service) for service in ("", *SERVICES)} == {NOT_SERVING}


def test_a_gateway_without_its_database_for_long_says_so_and_recovers_by_itself() -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        server = embedded.start(Path(folder), durable=False)
        try:
            with founded(server.create_database("interrupted")) as alliance:
                assert status(alliance) == SERVING
                server.stop()
                stopped_at = time.monotonic()
                wait_until(lambda: status(alliance) == NOT_SERVING, 40)
                assert time.monotonic() - stopped_at > 4  # a restart of the database is not worth turning tills away
                server = embedded.start(Path(folder), durable=False)
                wait_until(lambda: status(alliance) == SERVING, 40)
                alliance.admit("bakery")
        finally:
            server.stop()


def test_a_gateway_that_stops_says_so_first_finishes_what_it_took_and_does_not_wait_for_those_who_watch(
    alliance: Alliance,
) -> None:
    card = alliance.open_card("bakery")
    with watched(alliance) as watch, ThreadPoolExecutor(3) as threads:
        with held_up(alliance):
            calls = [threads.submit(alliance.submit, earn(alliance, card))]
            wait_until(lambda: is_held_up(alliance))
            calls.append(threads.submit(alliance.submit, earn(alliance, card)))
            wait_until(lambda: alliance.gateway.writer.transactions_waiting == 1)
            stopping = threads.submit(alliance.gateway.stop)
            wait_until(lambda: watch.statuses() == [SERVING, NOT_SERVING])
            assert not any(call.done() for call in calls)
        released_at = time.monotonic()
        assert [call.result()[0].replayed for call in calls] == [False, False]
        stopping.result()
        assert time.monotonic() - released_at < 5


def test_sigterm_under_load_turns_health_first_answers_what_is_under_way_and_exits_with_zero(
    alliance: Alliance, tmp_path: Path
) -> None:
    with served(alliance, tmp_path) as gateway:
        with at_work(alliance) as tills:
            tills.wait_for_answers(200)
            with watched(alliance) as watch:
                asked_at = time.monotonic()
                assert gateway.stop(signal.SIGTERM) == 0
                assert time.monotonic() - asked_at < 10
                assert watch.statuses() == [SERVING, NOT_SERVING]
            wait_until(lambda: tills.interruptions != [])
            alliance.open()
            tills.wait_for_answers(50)
        assert set(tills.interruptions) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        events = [line["event"] for line in gateway.lines()]
        assert events[-1] == "stopped"
        assert not set(events) & {"call_failed", "batch_failed", "writer_failed", "writer_stopped"}
        tills.verify()


def test_reflection_lists_the_contract_only_where_it_was_asked_for(alliance: Alliance, tmp_path: Path) -> None:
    with served(alliance, tmp_path, "--reflection"):
        database = ProtoReflectionDescriptorDatabase(alliance.channel)
        assert {name for name in database.get_services() if name.startswith("clearing.")} == set(SERVICES)
        file = database.FindFileContainingSymbol("clearing.v1.MerchantGateway")
        assert file.name == merchant_gateway_pb2.DESCRIPTOR.name
        assert "Submit" in {method.name for service in file.service for method in service.method}
    with served(alliance, tmp_path):
        with pytest.raises(grpc.RpcError) as raised:
            list(ProtoReflectionDescriptorDatabase(alliance.channel).get_services())
        # grpcio raises the failed call itself
        assert cast(grpc.Call, raised.value).code() is grpc.StatusCode.UNIMPLEMENTED
