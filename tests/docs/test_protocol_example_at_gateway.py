"""Who knows only docs/protocol.md can talk to a real gateway: the example's bytes in, the example's bytes out."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from back_office.host.assembly import Gateway
from clearing.model import Instant
from clearing.postgres.database import open_engine
from clearing.postgres.migration import migrate
from tests.docs.by_hand_example import ENTRIES, ORIGIN, at, example, receipt
from tests.docs.by_hand_wire import data, number, present_bytes
from tests.docs.by_library_example import LOG_SIGNER
from tests.waiting import PATIENCE_SECONDS


class SettableClock:
    """A clock that stands where it was set."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> Instant:
        return Instant(self.now)


class Caller:
    """Calls with bytes, and gives bytes: no generated code."""

    def __init__(self, channel: grpc.Channel, clock: SettableClock) -> None:
        self._channel = channel
        self._clock = clock

    def call(self, method: str, request: bytes, time_of_day: str, token: str | None = None) -> bytes:
        self._clock.now = at(time_of_day)
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        answer = self._channel.unary_unary(
            f"/clearing.v1.{method}", request_serializer=bytes, response_deserializer=bytes
        )(request, timeout=PATIENCE_SECONDS, metadata=metadata)
        assert isinstance(answer, bytes)
        return answer


@pytest.fixture
def caller(database_url: str) -> Iterator[Caller]:
    """A caller of a gateway on an empty database, with the example's log key."""
    engine = open_engine(database_url)
    migrate(engine)
    clock = SettableClock()
    with (
        Gateway(engine, LOG_SIGNER, "127.0.0.1:0", wall_clock=clock) as gateway,
        grpc.insecure_channel(gateway.server.address) as channel,
    ):
        yield Caller(channel, clock)
    engine.dispose()


def test_a_gateway_answers_the_examples_bytes_with_the_examples_bytes(caller: Caller) -> None:
    for index, name in enumerate(["founding", "admit_merchant", "open_store", "register_key"]):
        answer = caller.call("Operations/Instruct", present_bytes(1, ENTRIES[name].envelope), f"08:0{index}:00.125000")
        assert answer == present_bytes(1, receipt(index, index + 1))

    values = example()
    request = bytes.fromhex(values["submit"]["request"])
    answer = caller.call("MerchantGateway/Submit", request, "09:15:30.412345")
    assert answer.hex() == values["submit"]["response"]

    mixed = present_bytes(1, ENTRIES["mixed_presentment"].envelope)
    answer = caller.call("MerchantGateway/Submit", mixed, "09:20:00.098765")
    assert answer == present_bytes(1, bytes.fromhex(values["receipts"]["mixed_presentment"]))

    answer = caller.call("MerchantGateway/Submit", request, "09:21:00.000000")
    assert answer == present_bytes(1, bytes.fromhex(values["receipts"]["presentment_again"]))

    token, reading_time = values["token"]["token"], "09:30:10.000000"
    answer = caller.call("MerchantGateway/GetTransaction", data(1, "till-1-000002"), reading_time, token)
    assert answer == present_bytes(1, receipt(4, 6, replayed=True)) + number(2, 1)

    answer = caller.call("Audit/GetConsistencyProof", number(1, 5), reading_time, token)
    path = [bytes.fromhex(each) for each in values["consistency_path_5_to_6"]]
    note = values["checkpoints"]["6"]["note"]
    assert answer == b"".join(present_bytes(1, each) for each in path) + number(2, 6) + data(3, note)

    answer = caller.call("Operations/GetAlliance", b"", reading_time)
    assert answer.startswith(data(1, ORIGIN))
