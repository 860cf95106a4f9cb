"""Ten times what a gateway can take: it goes on working, and says at once and by name what it does not take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from clearing.v1 import merchant_gateway_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2_grpc import MerchantGatewayStub
from clearing.writer.pool import POOL_TRANSACTIONS_MAX
from merchant_gateway.server.admission import AT_ONCE_THREADS, OTHER_CALLS_MAX, SUBMITS_MAX
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.command import served
from tests.integration.crowd import Crowd, receipts_of
from tests.integration.held_up import decided_ahead, held_up, is_held_up
from tests.integration.observation import Refusal, complaints, refusal, refusal_of
from tests.integration.test_writer import earn, submission
from tests.waiting import wait_until

POOL_FULL = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "POOL_FULL", "clearing", "", "", True)
UNCONTENDED_CALLERS = 64
CROWD = 10 * SUBMITS_MAX
SECONDS = 2.5
SHARE_HELD = 0.15
"""Of the uncontended throughput. The crowd takes its time from the same two cores, and other programs too."""
MEBIBYTE = 1024 * 1024
MEMORY_MIB_MAX = 500
OWN_THREADS_MAX = 40
"""The gateway's own, and gRPC's and the database driver's."""
CALLS_PER_CHANNEL = 80
BEYOND = 20
"""Calls more than are taken."""


class Callers:
    """Calls under way on connections of their own, without a thread for each."""

    def __init__(self, address: str) -> None:
        self._channels = [
            grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
            for _ in range(-(-2 * SUBMITS_MAX // CALLS_PER_CHANNEL))
        ]
        self._stubs = [MerchantGatewayStub(channel) for channel in self._channels]
        self.calls: list[Any] = []

    def call(self, *envelopes: Envelope) -> None:
        """Present, and come back before it is answered."""
        stub = self._stubs[len(self.calls) % len(self._stubs)]
        request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes)
        self.calls.append(stub.Submit.future(request, timeout=CALL_TIMEOUT_SECONDS))

    def under_way(self) -> int:
        """How many are not answered yet."""
        return sum(not each.done() for each in self.calls)

    def close(self) -> None:
        """Hang up."""
        for channel in self._channels:
            channel.close()


def points_of(alliance: Alliance, card: str) -> int:
    request = merchant_gateway_pb2.GetCardRequest(card_token=card)
    authorization = alliance.authorization(alliance.keys["bakery"])
    answer = alliance.merchants.GetCard(request, metadata=authorization, timeout=CALL_TIMEOUT_SECONDS)
    return answer.points_available


def is_just_full(alliance: Alliance, card: str, callers: Callers) -> bool:
    """Whether as many calls are under way as the gateway takes; where calls of before took places, adds some."""
    for _ in range(SUBMITS_MAX - callers.under_way()):
        callers.call(earn(alliance, card))
    return callers.under_way() == SUBMITS_MAX


@contextmanager
def crowded(alliance: Alliance, card: str) -> Iterator[Callers]:
    """Within the block as many presenting calls as the gateway takes wait, and none is decided."""
    callers = Callers(alliance.gateway.server.address)
    try:
        with held_up(alliance):
            for _ in range(SUBMITS_MAX + BEYOND):
                callers.call(earn(alliance, card))
            wait_until(lambda: is_just_full(alliance, card, callers))
            yield callers
        ended = [each.exception() for each in callers.calls]
        refusals = [refusal_of(error) for error in ended if isinstance(error, grpc.RpcError)]
        assert len(refusals) >= BEYOND
        assert set(refusals) == {POOL_FULL}
    finally:
        callers.close()


def test_a_call_beyond_those_under_way_is_refused_while_nothing_moves(alliance: Alliance) -> None:
    """A refusal that waited for a thread, or for the writer, would not come before the block ends."""
    card = alliance.open_card("bakery")
    with crowded(alliance, card) as callers:
        for _ in range(3):
            assert refusal(submission(alliance, earn(alliance, card))) == POOL_FULL
        assert callers.under_way() == SUBMITS_MAX
    assert alliance.earn("bakery", card, 1).points_available == SUBMITS_MAX + 1
    assert complaints(alliance.engine) == []


def test_a_call_is_refused_before_its_message_is_read(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    with crowded(alliance, card):
        for request in (b"", b"no message at all", bytes(3 * MEBIBYTE)):
            method = alliance.channel.unary_unary("/clearing.v1.MerchantGateway/Submit", None, None)
            assert refusal(lambda: method(request, timeout=CALL_TIMEOUT_SECONDS)) == POOL_FULL  # noqa: B023


def test_health_and_reads_and_others_answer_while_no_presentment_is_taken(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    assert alliance.earn("bakery", card, 7).points_available == 7
    with crowded(alliance, card):
        health = HealthStub(alliance.channel).Check(health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT_SECONDS)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert alliance.log_size() > 0
        assert points_of(alliance, card) == 7


def test_calls_that_their_callers_gave_up_leave_their_places_to_others(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    abandoned = Callers(alliance.gateway.server.address)
    with held_up(alliance):
        abandoned.call(earn(alliance, card))
        wait_until(lambda: is_held_up(alliance))
        decided_ahead(alliance)
        for _ in range(SUBMITS_MAX - 1):
            abandoned.call(earn(alliance, card))
        # A call that is cancelled before it has come so far is never presented.
        wait_until(lambda: alliance.gateway.writer.transactions_waiting == SUBMITS_MAX - 1)
        assert refusal(submission(alliance, earn(alliance, card))) == POOL_FULL
        for each in abandoned.calls:
            each.cancel()
    abandoned.close()
    wait_until(lambda: points_of(alliance, card) == SUBMITS_MAX)
    with crowded(alliance, card):
        pass
    assert points_of(alliance, card) == 2 * SUBMITS_MAX


def test_a_full_pool_refuses_before_a_signature_is_verified(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    many = [
        alliance.transaction("bakery", card, reference=f"e{number}", earn=presentment_pb2.Earn(points=1))
        for number in range(500)
    ]
    large = alliance.envelope(alliance.presentment("bakery", *many))
    forged = earn(alliance, card)
    forged.signatures[0].sig = bytes(64)
    callers = Callers(alliance.gateway.server.address)

    def is_refused_unread() -> bool:
        callers.call(*[large] * 4)
        is_refused = refusal(submission(alliance, forged)) == POOL_FULL
        # Not so if the writer, which takes one batch ahead, has made room meanwhile.
        return is_refused and alliance.gateway.writer.transactions_waiting == POOL_TRANSACTIONS_MAX

    assert refusal(submission(alliance, forged)).reason == "BAD_SIGNATURE"
    with held_up(alliance):
        wait_until(is_refused_unread)
    ended = [each.exception() for each in callers.calls]
    assert {refusal_of(error) for error in ended if isinstance(error, grpc.RpcError)} <= {POOL_FULL}
    callers.close()
    assert refusal(submission(alliance, forged)).reason == "BAD_SIGNATURE"
    assert alliance.earn("bakery", card, 1).points_available == 501


def test_ten_times_the_calls_a_gateway_takes_do_not_bring_it_down(alliance: Alliance, tmp_path: Path) -> None:
    cards = [alliance.open_card("bakery") for _ in range(50)]
    with served(alliance, tmp_path) as gateway:
        address = gateway.wait_for("serving")["address"]
        process = psutil.Process(gateway.process.pid)
        size = alliance.log_size()

        calm = Crowd(alliance, address, UNCONTENDED_CALLERS, cards)
        calm.start()
        time.sleep(1)  # to warm up
        before = len(calm.heard.answers)
        time.sleep(SECONDS)
        uncontended = len(calm.heard.answers) - before
        assert calm.finish().failures == []

        crowd = Crowd(alliance, address, CROWD, cards)
        starting = threading.Thread(target=crowd.start)
        # A crowd in one process is no faster than a gateway: nothing is decided until many are there at once.
        with held_up(alliance):
            starting.start()
            wait_until(lambda: crowd.heard.refusals.total() > SUBMITS_MAX)
        memory_mib: list[int] = []
        threads: list[int] = []

        def holds_its_share() -> bool:
            before, started_s = len(crowd.heard.answers), time.monotonic()
            while time.monotonic() < started_s + SECONDS:
                memory_mib.append(process.memory_info().rss // MEBIBYTE)
                threads.append(process.num_threads())
                health = HealthStub(alliance.channel)
                status = health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT_SECONDS).status
                assert status == health_pb2.HealthCheckResponse.SERVING
                time.sleep(0.05)
            contended = (len(crowd.heard.answers) - before) * SECONDS / (time.monotonic() - started_s)
            return contended >= SHARE_HELD * uncontended

        # The first time, unless the machine has something else to do just then. A gateway that breaks down never does.
        wait_until(holds_its_share)
        starting.join()
        heard = crowd.finish()

        assert heard.failures == []
        assert set(heard.refusals) == {POOL_FULL}
        assert min(heard.retry_delays_s) > 0
        assert max(memory_mib) < MEMORY_MIB_MAX
        assert max(threads) <= SUBMITS_MAX + OTHER_CALLS_MAX + AT_ONCE_THREADS + OWN_THREADS_MAX

        receipts = [*receipts_of(calm.heard), *receipts_of(heard)]
        assert alliance.log_size() == size + len(receipts)
        indexes = set()
        for envelope, answer in receipts:
            (receipt,) = answer.receipts
            assert alliance.verified(receipt).envelope.payload == envelope.payload
            indexes.add(receipt.index)
        assert len(indexes) == len(receipts)
        assert complaints(alliance.engine) == []
