"""A gateway under load and bad input, at its finest log level: nothing of what it was told in confidence is in its log.

Card tokens never are either: whoever holds one can present transactions of the card. A merchant's reference is logged,
whatever the merchant put into it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import grpc
from google.protobuf.message import DecodeError

from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2 import SubmitRequest
from clearing.v1.operations_pb2 import InstructRequest
from tests.fuzz.generator import INSTRUCT, SUBMIT, FuzzInput, Generator
from tests.fuzz.harness import actors_of
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, founded
from tests.integration.command import served

INPUTS = 2_000
CALLERS = 8
SECRET_BYTES_MIN = 16
"""Fewer bytes may stand in a log by chance."""


def test_no_secret_is_logged_under_load_and_bad_input(database_url: str, tmp_path: Path) -> None:
    with founded(database_url, clock="CLOCK_SYSTEM") as alliance:
        alliance.admit("bakery", "cinema")
        generator = Generator(actors_of(alliance, PrivateKey.generate()), seed=1)
        calls = [call for number in range(INPUTS) for call in generator.inputs(number)]
        with served(alliance, tmp_path, "--log-level", "debug") as gateway:
            with ThreadPoolExecutor(CALLERS) as callers:
                answered = list(callers.map(lambda call: _send(alliance.channel, call), calls))
            assert gateway.stop() == 0
        lines = gateway.lines()
        keys = [alliance.operator, alliance.second_operator, generator.stranger, *alliance.keys.values()]
        seeds = [key.seed for key in keys] + [alliance.log_key.seed]
    assert any(answered)
    assert len(lines) > 100
    for line in lines:
        line.pop("reference", None)
    text = json.dumps(lines)
    secrets = {secret for call in calls for secret in _secrets_of(call)} | {*seeds}
    assert len(secrets) > 1_000
    for secret in secrets:
        for spelling in _spellings(secret):
            assert spelling not in text
    for card in generator.cards:
        assert card not in text
        assert card.removeprefix("card_") not in text
    for word in ("Bearer", "eyJ", "PRIVATE KEY", "Traceback"):
        assert word not in text


def _send(channel: grpc.Channel, call: FuzzInput) -> bool:
    """Whether the call was answered, rather than turned away."""
    method = channel.unary_unary(call.method, request_serializer=bytes, response_deserializer=bytes)
    metadata: tuple[tuple[str, str], ...] = ()
    if isinstance(call.authorization, str) and call.authorization.isascii() and call.authorization.isprintable():
        metadata = (("authorization", call.authorization),)
    try:
        method(call.request, timeout=CALL_TIMEOUT_SECONDS, metadata=metadata)
    except grpc.RpcError as error:
        if cast(grpc.Call, error).code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
            raise
        return False
    return True


def _secrets_of(call: FuzzInput) -> Iterator[bytes]:
    """Signatures and payloads of envelopes, and the whole token of a read."""
    if isinstance(call.authorization, str) and len(call.authorization) > SECRET_BYTES_MIN * 2:
        yield call.authorization.removeprefix("Bearer ").encode()
    for envelope in _envelopes_of(call):
        for signature in envelope.signatures:
            if len(signature.sig) >= SECRET_BYTES_MIN:
                yield signature.sig
        if len(envelope.payload) >= SECRET_BYTES_MIN * 4:
            yield envelope.payload


def _envelopes_of(call: FuzzInput) -> list[Envelope]:
    try:
        if call.method == SUBMIT:
            return list(SubmitRequest.FromString(call.request).envelopes)
        if call.method == INSTRUCT:
            return [InstructRequest.FromString(call.request).envelope]
    except DecodeError:
        pass
    return []


def _spellings(secret: bytes) -> Iterator[str]:
    """How a log might show these bytes: their beginning is enough."""
    head = secret[:SECRET_BYTES_MIN]
    yield head.hex()
    yield head.hex().upper()
    whole_groups = head[: len(head) // 3 * 3]
    yield base64.b64encode(whole_groups).decode()
    yield base64.urlsafe_b64encode(whole_groups).decode()
    yield json.dumps(repr(head)[2:-1])[1:-1]
    yield json.dumps(head.decode("latin-1"))[1:-1]
