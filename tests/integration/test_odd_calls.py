"""Calls that no honest client makes: the gateway refuses them by the protocol, and goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import psutil
import pytest

from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.command import served
from tests.integration.observation import refusal

SUBMIT = "/clearing.v1.MerchantGateway/Submit"
LIST_ENTRIES = "/clearing.v1.Audit/ListEntries"
CHECK = "/grpc.health.v1.Health/Check"
MEBIBYTE = 1024 * 1024
LARGE_CALLS = 60
GROWTH_MIB_MAX = 300
"""Of the gateway, by refusing nine hundred mebibytes of messages. A few are in its hands at any time."""


@pytest.mark.parametrize("name", [b"/\xff\xfe/x", SUBMIT.encode() + b"\xe9", b"/x", b"x", b"/" + b"x" * 5_000])
def test_a_name_of_no_method_whatever_its_bytes_is_unknown_and_stops_nobody(
    shared_alliance: Alliance, name: bytes
) -> None:
    channel: Any = shared_alliance.channel  # its stubs want text, and serialisers, of honest clients
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(name)(b"", timeout=CALL_TIMEOUT_SECONDS)
    assert cast(grpc.Call, refused.value).code() is grpc.StatusCode.UNIMPLEMENTED
    assert shared_alliance.log_size() > 0


@pytest.mark.parametrize("method", [SUBMIT, LIST_ENTRIES, CHECK])
def test_a_call_that_ends_without_a_message_is_answered(shared_alliance: Alliance, method: str) -> None:
    channel: Any = shared_alliance.channel
    nothing: Iterator[bytes] = iter(())
    with pytest.raises(grpc.RpcError) as refused:
        channel.stream_unary(method)(nothing, timeout=CALL_TIMEOUT_SECONDS)
    assert cast(grpc.Call, refused.value).code() is grpc.StatusCode.UNIMPLEMENTED


def test_large_calls_that_are_refused_do_not_stay_in_memory(alliance: Alliance, tmp_path: Path) -> None:
    with served(alliance, tmp_path) as gateway:
        address = gateway.wait_for("serving")["address"]
        process = psutil.Process(gateway.process.pid)
        with grpc.insecure_channel(address, options=(("grpc.max_send_message_length", -1),)) as channel:
            submit: Any = channel.unary_unary(SUBMIT, None, None)
            message = b"\xff" * (15 * MEBIBYTE)
            before = process.memory_info().rss // MEBIBYTE
            for _ in range(LARGE_CALLS):
                assert refusal(lambda: submit(message, timeout=CALL_TIMEOUT_SECONDS)).reason == "MALFORMED_PAYLOAD"
            assert process.memory_info().rss // MEBIBYTE - before < GROWTH_MIB_MAX
