"""What the gateway logs, read as an operator's log collector reads it: JSON lines, without anything secret in them."""

from __future__ import annotations

import base64
import json
import logging
import time
from pathlib import Path
from typing import cast

import grpc
import pytest
import structlog
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from clearing.card_token import random_token
from clearing.cli.logs import configure_logs
from clearing.clock import system_time
from clearing.keys import PrivateKey
from clearing.tokens import make_token
from clearing.v1 import merchant_gateway_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.gateway_error import gateway_error_of
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, ORIGIN, Alliance
from tests.integration.command import served
from tests.integration.observation import refusal
from tests.integration.test_writer import earn, submission


def test_a_refused_transaction_is_logged_with_merchant_and_reference(alliance: Alliance, tmp_path: Path) -> None:
    card = alliance.open_card("bakery")
    with served(alliance, tmp_path) as gateway:
        burn = alliance.transaction("cinema", card, reference="till-9", burn=presentment_pb2.Burn(points=7))
        opened = alliance.transaction("cinema", card, reference="till-8", earn=presentment_pb2.Earn(points=1))
        (receipt,) = alliance.submit(alliance.envelope(alliance.presentment("cinema", opened, burn)))
        alliance.submit(alliance.envelope(alliance.presentment("cinema", opened, burn)))
        assert gateway.stop() == 0
    (line,) = gateway.lines("refused")
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "refused",
        "level": "info",
        "outcome": "INSUFFICIENT_POINTS",
        "entry": receipt.index,
        "merchant": "cinema",
        "reference": "till-9",
        "position": 1,
    }


def test_a_call_turned_away_is_logged_with_the_id_that_its_caller_hears(alliance: Alliance, tmp_path: Path) -> None:
    card = alliance.open_card("bakery")
    too_much = alliance.transaction("bakery", card, reference="till-1", earn=presentment_pb2.Earn(points=2**40))
    fine = earn(alliance, card)
    with served(alliance, tmp_path) as gateway:
        envelope = alliance.envelope(alliance.presentment("bakery", too_much))
        with pytest.raises(grpc.RpcError) as raised:
            submission(alliance, fine, envelope)()
        heard = error_info(raised.value)
        gateway.stop()
    (line,) = gateway.lines("rejected")
    assert line.pop("timestamp")
    assert line == {
        "event": "rejected",
        "level": "info",
        "method": "MerchantGateway/Submit",
        "reason": "POINTS_OUT_OF_RANGE",
        "field": "transactions[0].earn.points",
        "envelope_index": 1,
        "merchant": "bakery",
        "key_id": alliance.keys["bakery"].key_id,
        "reference": "till-1",
        "call_id": heard.metadata["call_id"],
    }
    assert len(heard.metadata["call_id"]) == 16
    shown = str(gateway_error_of(raised.value, alliance.gateway.server.address))
    assert shown.endswith(f"(POINTS_OUT_OF_RANGE, call {heard.metadata['call_id']})")


def error_info(error: grpc.RpcError) -> ErrorInfo:
    """What a failed call says of itself."""
    status = rpc_status.from_call(cast(grpc.Call, error))  # grpcio raises the failed call itself
    assert status is not None
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


def test_a_forged_message_is_a_warning_that_says_whose_key_was_named_and_nothing_of_its_content(
    alliance: Alliance, tmp_path: Path
) -> None:
    card = alliance.open_card("bakery")
    with served(alliance, tmp_path) as gateway:
        assert refusal(submission(alliance, forged(alliance, card))).reason == "BAD_SIGNATURE"
        gateway.stop()
    (line,) = gateway.lines("rejected")
    assert (line["level"], line["reason"], line["merchant"]) == ("warning", "BAD_SIGNATURE", "bakery")
    assert "reference" not in line


def test_no_line_holds_a_signature_a_token_a_card_or_a_payload_even_at_the_finest_level(
    alliance: Alliance, tmp_path: Path
) -> None:
    card = alliance.open_card("bakery")
    stranger = PrivateKey.generate()
    tokens = [make_token(key, ORIGIN, system_time()) for key in (alliance.operator, stranger)]
    envelopes = [earn(alliance, card), earn(alliance, card)]
    envelopes += [alliance.envelope(alliance.presentment("bakery", *burns(alliance, card))), forged(alliance, card)]
    misplaced = alliance.transaction("bakery", card, reference=card, earn=presentment_pb2.Earn(points=2**40))
    envelopes.append(alliance.envelope(alliance.presentment("bakery", misplaced)))
    with served(alliance, tmp_path, "--log-level", "debug") as gateway:
        for envelope in envelopes:
            request = merchant_gateway_pb2.SubmitRequest(envelopes=[envelope])
            alliance.merchants.Submit.future(request, timeout=CALL_TIMEOUT_SECONDS).exception()
        for token in tokens:
            read = merchant_gateway_pb2.GetCardRequest(card_token=card)
            metadata = (("authorization", f"Bearer {token}"),)
            alliance.merchants.GetCard.future(read, metadata=metadata, timeout=CALL_TIMEOUT_SECONDS).exception()
        assert gateway.stop() == 0
    text = gateway.text()
    assert {line["event"] for line in gateway.lines()} == {"serving", "batch", "refused", "rejected", "stopped"}
    assert {line["reason"] for line in gateway.lines("rejected")} == {
        "BAD_SIGNATURE",
        "POINTS_OUT_OF_RANGE",
        "UNKNOWN_KEY",
    }
    assert "card_" not in text
    for token in tokens:
        assert token not in text
        assert token.split(".")[2] not in text
    for envelope in envelopes:
        for data in (envelope.payload, *(signature.sig for signature in envelope.signatures)):
            for shown in (data.hex(), base64.b64encode(data).decode(), repr(data)[2:-1]):
                assert shown not in text
    assert alliance.log_key.seed.hex() not in text


def burns(alliance: Alliance, card: str) -> list[presentment_pb2.Transaction]:
    return [alliance.transaction("bakery", card, burn=presentment_pb2.Burn(points=5_000)) for _ in range(3)]


def forged(alliance: Alliance, card: str) -> Envelope:
    envelope = earn(alliance, card)
    envelope.signatures[0].sig = bytes(64)
    return envelope


def test_a_batch_is_logged_at_debug_with_its_stages(alliance: Alliance, tmp_path: Path) -> None:
    card = alliance.open_card("bakery")
    with served(alliance, tmp_path, "--log-level", "debug") as gateway:
        alliance.submit(earn(alliance, card), earn(alliance, card))
        size = alliance.log_size()
        gateway.stop()
    (line,) = gateway.lines("batch")
    assert (line["level"], line["entries"], line["decided"], line["replayed"]) == ("debug", 2, 2, 0)
    assert line["log_entries"] == size
    assert set(line["milliseconds"]) == {"load", "decide", "record", "commit"}


def test_the_level_leaves_out_what_is_below_it(alliance: Alliance, tmp_path: Path) -> None:
    card = alliance.open_card("bakery")
    with served(alliance, tmp_path) as gateway:
        alliance.submit(earn(alliance, card))
        gateway.stop()
    assert {line["event"] for line in gateway.lines()} == {"serving", "stopped"}


def test_a_flood_of_refusals_writes_some_lines_a_second_and_says_how_many_it_left_out(
    alliance: Alliance, tmp_path: Path
) -> None:
    card = alliance.open_card("bakery")
    floods = [
        [alliance.transaction("bakery", card, burn=presentment_pb2.Burn(points=9)) for _ in range(400)]
        for _ in range(2)
    ]
    with served(alliance, tmp_path) as gateway:
        alliance.present("bakery", *floods[0])
        first = len(gateway.lines("refused"))
        time.sleep(1.1)
        alliance.present("bakery", *floods[1])
        gateway.stop()
    lines = gateway.lines("refused")
    # A flood may lie over the turn of a second, and then fills the limit twice.
    assert 50 <= first <= 100
    assert 50 <= len(lines) - first <= 100
    assert lines[first]["lines_left_out"] == 400 - first


def test_a_level_that_does_not_exist_is_refused(alliance: Alliance, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="Invalid value for '--log-level'"),
        served(alliance, tmp_path, "--log-level", "loud"),
    ):
        pass


def test_a_librarys_exception_is_logged_without_what_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    """A database's error may quote a card, and a frame's variables hold keys, as this one's do."""
    card, seed = random_token(), PrivateKey.generate().seed.hex()
    token = make_token(PrivateKey.generate(), ORIGIN, system_time())
    try:
        configure_logs(as_json=True)
        try:
            raise RuntimeError(f"Key (card)=({card}) exists; {token}")
        except RuntimeError:
            structlog.get_logger().exception("batch_failed")
        logging.getLogger("a.library").warning("card %s", card)
    finally:
        structlog.reset_defaults()
        logging.basicConfig(force=True)
    written = capsys.readouterr().err
    assert [json.loads(line)["event"] for line in written.splitlines()] == ["batch_failed", "card ***"]
    assert "Key (card)=(***) exists; ***" in written
    for secret in (card, token, seed):
        assert secret not in written
