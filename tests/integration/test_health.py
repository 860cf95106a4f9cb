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
from typing import Any, TypeAlias, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from clearing.postgres.embedded import server as embedded
from clearing.v1 import merchant_gateway_pb2
from merchant_gateway.server import server as gateway_server
from merchant_gateway.server.admission import WATCHES_MAX
from merchant_gateway.server.server import SERVICES
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance, founded
from tests.integration.command import served
from tests.integration.held_up import decided_ahead, held_up, is_held_up
from tests.integration.observation import refusal, refusal_of
from tests.integration.test_writer import earn, submission, succeeded
from tests.integration.tills import at_work
from tests.waiting import wait_until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WATCHES_PER_CHANNEL = 10
Status: TypeAlias = "health_pb2.HealthCheckResponse.ServingStatus.ValueType"


def status(alliance: Alliance, service: str = "") -> Status:
    request = health_pb2.HealthCheckRequest(service=service)
    return HealthStub(alliance.channel).Check(request, timeout=CALL_TIMEOUT_SECONDS).status


class Watch:
    """A load balancer's stream of a gateway's health."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._seen: list[Status] = []
        self._stream = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for response in self._stream:
                self._seen.append(response.status)
        except grpc.RpcError:
            pass  # the gateway has gone, or the test has seen enough

    def statuses(self) -> list[Status]:
        return list(self._seen)

    def end(self) -> None:
        self._stream.cancel()
        self._thread.join()


@contextmanager
def watched(alliance: Alliance) -> Iterator[Watch]:
    """A watch that knows the present state already."""
    watch = Watch(alliance.channel)
    try:
        wait_until(lambda: watch.statuses() != [])
        yield watch
    finally:
        watch.end()


def test_every_service_and_the_server_as_a_whole_are_serving(alliance: Alliance) -> None:
    assert {status(alliance, service) for service in ("", *SERVICES)} == {SERVING}


def test_a_gateway_that_was_fenced_says_so_to_those_who_watch(alliance: Alliance) -> None:
    with watched(alliance) as watch, succeeded(alliance):
        wait_until(lambda: watch.statuses() == [SERVING, NOT_SERVING])
        assert {status(alliance, service) for service in ("", *SERVICES)} == {NOT_SERVING}


def test_a_gateway_without_its_database_for_long_says_so_and_recovers_by_itself() -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        server = embedded.start(Path(folder), durable=False)
        try:
            with founded(server.create_database("interrupted")) as alliance:
                assert status(alliance) == SERVING
                stopping_at = time.monotonic()
                server.stop()
                wait_until(lambda: status(alliance) == NOT_SERVING)
                # A restart of the database takes a second or two, and is not worth turning tills away.
                assert time.monotonic() - stopping_at > 3
                server = embedded.start(Path(folder), durable=False)
                wait_until(lambda: status(alliance) == SERVING)
                alliance.admit("bakery")
        finally:
            server.stop()


def test_a_gateway_that_stops_says_so_first_finishes_what_it_took_and_does_not_wait_for_those_who_watch(
    alliance: Alliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_server, "STOP_GRACE_SECONDS", 10 * CALL_TIMEOUT_SECONDS)
    card = alliance.open_card("bakery")
    with watched(alliance) as watch, ThreadPoolExecutor(3) as threads:
        with held_up(alliance):
            calls = [threads.submit(alliance.submit, earn(alliance, card))]
            wait_until(lambda: is_held_up(alliance))
            decided_ahead(alliance)
            calls.append(threads.submit(alliance.submit, earn(alliance, card)))
            wait_until(lambda: alliance.gateway.writer.transactions_waiting == 1)
            stopping = threads.submit(alliance.gateway.stop)
            wait_until(lambda: watch.statuses() == [SERVING, NOT_SERVING])
            assert not any(call.done() for call in calls)
        assert [call.result()[0].replayed for call in calls] == [False, False]
        stopping.result(CALL_TIMEOUT_SECONDS)


def test_a_gateway_that_announces_its_stop_turns_health_before_any_call_is_turned_away(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    assert status(alliance) == SERVING
    alliance.gateway.server.announce_stop()
    assert {status(alliance, service) for service in ("", *SERVICES)} == {NOT_SERVING}
    assert alliance.earn("bakery", card, 1).points_available == 1, "those who have not heard of it are still served"
    alliance.gateway.announce_stop()
    assert status(alliance) == NOT_SERVING
    assert refusal(submission(alliance, earn(alliance, card))).reason == "SHUTTING_DOWN"


def test_sigterm_under_load_turns_health_first_answers_what_is_under_way_and_exits_with_zero(
    alliance: Alliance, tmp_path: Path
) -> None:
    with served(alliance, tmp_path) as gateway:
        with at_work(alliance) as tills:
            tills.wait_for_answers(200)
            with watched(alliance) as watch:
                assert gateway.stop(signal.SIGTERM) == 0
                assert watch.statuses() == [SERVING, NOT_SERVING]
            wait_until(lambda: tills.interruptions != [])
            alliance.open()
            tills.wait_for_answers(50)
        assert set(tills.interruptions) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        events = [line["event"] for line in gateway.lines()]
        assert events[-1] == "stopped"
        assert not set(events) & {"call_failed", "batch_failed", "writer_failed", "writer_stopped"}
        tills.verify()


def watches_of(address: str, count: int) -> Iterator[Any]:
    """So many streams of health, each on a connection of its own with some others."""
    for first in range(0, count, WATCHES_PER_CHANNEL):
        channel = grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
        for _ in range(first, min(first + WATCHES_PER_CHANNEL, count)):
            yield HealthStub(channel).Watch(health_pb2.HealthCheckRequest())


def test_as_many_as_there_is_room_for_may_watch_and_are_told_of_the_end(alliance: Alliance, tmp_path: Path) -> None:
    with served(alliance, tmp_path) as gateway:
        watches = list(watches_of(gateway.wait_for("serving")["address"], WATCHES_MAX))
        assert {next(watch).status for watch in watches} == {SERVING}
        with pytest.raises(grpc.RpcError) as refused:
            next(HealthStub(alliance.channel).Watch(health_pb2.HealthCheckRequest()))
        assert refusal_of(refused.value).reason == "POOL_FULL"
        assert status(alliance) == SERVING
        assert gateway.stop(signal.SIGTERM) == 0
        assert {next(watch).status for watch in watches} == {NOT_SERVING}


def test_watches_that_end_while_others_begin_and_health_turns_stop_nobody(alliance: Alliance, tmp_path: Path) -> None:
    """A lock that is held while one is told, and needed to take out another, would stop the whole server."""
    with served(alliance, tmp_path) as gateway:
        address = gateway.wait_for("serving")["address"]
        for _ in range(5):
            begun = list(watches_of(address, WATCHES_MAX // 2))
            threads = [threading.Thread(target=watch.cancel) for watch in begun]
            for thread in threads:
                thread.start()
            others = watches_of(address, WATCHES_MAX // 4)
            for watch in others:
                wait_until(lambda: status(alliance) == SERVING)
                watch.cancel()
            for thread in threads:
                thread.join()
        last: list[Any] = []

        def has_room() -> bool:
            """For all: the ended ones have left."""
            last[:] = watches_of(address, WATCHES_MAX)
            try:
                return {next(watch).status for watch in last} == {SERVING}
            except grpc.RpcError:
                for watch in last:
                    watch.cancel()
                return False

        wait_until(has_room)
        for watch in last[: WATCHES_MAX // 2]:
            watch.cancel()
        assert gateway.stop(signal.SIGTERM) == 0


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
