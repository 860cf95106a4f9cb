"""What the gateway logs, read as an operator's log collector reads it: JSON lines, without anything secret in them."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
import textwrap
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

import grpc
import pytest
import sqlalchemy
import structlog
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from back_office.host.logs import configure_logs
from clearing.card_token import random_token
from clearing.clock import system_time
from clearing.postgres.embedded.server import EmbeddedPostgres
from clearing.signing.keys import PrivateKey
from clearing.signing.tokens import make_token
from clearing.v1 import merchant_gateway_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.gateway_error import gateway_error_of
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, ORIGIN, Alliance
from tests.integration.command import served
from tests.integration.held_up import execute, is_held_up
from tests.integration.observation import refusal
from tests.integration.test_overlap import COMMITTING_SESSION
from tests.integration.test_writer import earn, submission
from tests.waiting import PATIENCE_SECONDS, wait_until


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
    envelopes = [earn(alliance, card), earn(alliance, card)]
    envelopes += [alliance.envelope(alliance.presentment("bakery", *burns(alliance, card))), forged(alliance, card)]
    misplaced = alliance.transaction("bakery", card, reference=card, earn=presentment_pb2.Earn(points=2**40))
    envelopes.append(alliance.envelope(alliance.presentment("bakery", misplaced)))
    with served(alliance, tmp_path, "--log-level", "debug") as gateway:
        tokens = [make_token(key, ORIGIN, system_time()) for key in (alliance.operator, stranger)]
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
        # Callers hear first, the log afterwards.
        wait_until(lambda: len(gateway.lines("refused")) >= 50)
        time.sleep(1.1)
        first = len(gateway.lines("refused"))
        alliance.present("bakery", *floods[1])
        gateway.stop()
    lines = gateway.lines("refused")
    for flood in (lines[:first], lines[first:]):
        assert 50 <= len(flood) <= 50 * seconds_touched(flood)
    assert sum(line.get("lines_left_out", 0) for line in lines[: first + 1]) == 400 - first


def seconds_touched(lines: list[dict[str, Any]]) -> int:
    """In how many different seconds, at most, the lines were written: two at least, over a second's turn."""
    first, last = (datetime.fromisoformat(line["timestamp"]) for line in (lines[0], lines[-1]))
    return int((last - first).total_seconds()) + 2


def test_a_level_that_does_not_exist_is_refused(alliance: Alliance, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="Invalid value for '--log-level'"),
        served(alliance, tmp_path, "--log-level", "loud"),
    ):
        pass


@pytest.mark.parametrize("as_json", [True, False])
def test_a_librarys_exception_is_logged_without_what_it_quotes(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """An error may quote a card or an envelope's bytes, and a frame's variables hold keys, as this one's do."""
    card, seed = random_token(), PrivateKey.generate().seed.hex()
    token, data = make_token(PrivateKey.generate(), ORIGIN, system_time()), PrivateKey.generate().sign(b"").hex()
    try:
        configure_logs(as_json=as_json)
        try:
            try:
                raise ValueError(f"row {data}")
            except ValueError as error:
                raise RuntimeError(f"Key (card)=({card}) exists; {token}") from error
        except RuntimeError:
            structlog.get_logger().exception("batch_failed")
        logging.getLogger("a.library").warning("card %s", card)
    finally:
        structlog.reset_defaults()
        logging.basicConfig(force=True)
    written = capsys.readouterr().err
    if as_json:
        assert [json.loads(line)["event"] for line in written.splitlines()] == ["batch_failed", "card ***"]
    for told in ("RuntimeError", "Key (card)=(***) exists; ***", "ValueError", "row ***", Path(__file__).name):
        assert told in written
    for secret in (card, token, seed, data):
        assert secret not in written


UNCAUGHT = textwrap.dedent("""
    import sys, threading
    from back_office.host.logs import configure_logs, log_uncaught

    def fail(*_):
        raise RuntimeError(f"row {sys.argv[1]}")

    class Failing:
        __del__ = fail

    configure_logs(as_json=True)
    log_uncaught()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Failing()
    fail()
""")


def test_exceptions_that_nobody_catches_are_logged_like_all_others() -> None:
    card = random_token()
    done = subprocess.run(
        [sys.executable, "-c", UNCAUGHT, card], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["error", "warning", "warning"]
    for line in lines:
        assert line["event"] == "uncaught_exception"
        assert [exception["exc_value"] for exception in line["exception"]] == ["row ***"]
        assert line["exception"][0]["frames"][-1]["name"] == "fail"


@pytest.mark.parametrize("table", ["transactions", "entries", "cards"])
def test_a_batch_that_the_database_refuses_is_logged_without_its_rows(
    alliance: Alliance, postgres: EmbeddedPostgres, tmp_path: Path, table: str
) -> None:
    before_each_row(alliance, table, "RAISE 'the shelf is full' USING DETAIL = NEW::text, HINT = NEW::text;")
    with served(alliance, tmp_path, "--log-level", "debug") as gateway:
        secret = opening_cards(alliance)
        assert refusal(submission(alliance, *secret.envelopes)).reason == "INTERNAL"
        assert gateway.stop() == 0
    told = [line["exception"][0] for line in gateway.lines() if "exception" in line]
    assert told
    for exception in told:
        assert exception["exc_type"] == "RecordingFailedError"
        assert exception["exc_value"] == "RaiseException P0001: the shelf is full"
        assert exception["frames"]
    secret.require_not_in(gateway.text())
    secret.require_not_in(postgres.log_path.read_text())


@pytest.mark.parametrize("table", ["transactions", "entries", "cards"])
def test_a_session_that_is_ended_amid_a_batch_shows_nothing_of_its_rows(
    alliance: Alliance, postgres: EmbeddedPostgres, tmp_path: Path, table: str
) -> None:
    before_each_row(alliance, table, "PERFORM pg_advisory_xact_lock_shared(1);")
    with served(alliance, tmp_path, "--log-level", "debug") as gateway, alliance.engine.begin() as connection:
        connection.execute(sqlalchemy.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(1)"))
        secret = opening_cards(alliance)
        request = merchant_gateway_pb2.SubmitRequest(envelopes=secret.envelopes)
        call = alliance.merchants.Submit.future(request, timeout=CALL_TIMEOUT_SECONDS)
        wait_until(lambda: is_held_up(alliance))
        assert execute(alliance.engine, COMMITTING_SESSION) == 1
        assert refusal(call.result).reason == "DATABASE_UNAVAILABLE"
        assert gateway.stop() == 0
    # Each line is ours, and not the driver's own complaint, which quotes the row.
    assert len(gateway.lines()) == len(gateway.text().splitlines())
    assert gateway.lines("database_unavailable")
    secret.require_not_in(gateway.text())
    secret.require_not_in(postgres.log_path.read_text())


class Secret(NamedTuple):
    """What is presented in confidence."""

    envelopes: list[Envelope]
    cards: list[str]
    references: list[str]

    def require_not_in(self, text: str) -> None:
        """No card, also not a part of one, no signature in any spelling; no references but of the refused call."""
        for card in self.cards:
            assert card not in text
            assert card.removeprefix("card_")[:12] not in text
            assert card.encode().hex() not in text
        for envelope in self.envelopes:
            for data in (envelope.payload, *(signature.sig for signature in envelope.signatures)):
                # The first bytes are enough, and more may be written over several lines.
                for shown in (data[:24].hex(), base64.b64encode(data[:24]).decode(), repr(data[:24])[2:-1]):
                    assert shown not in text
        for reference in self.references[1:]:
            assert reference not in text


def opening_cards(alliance: Alliance) -> Secret:
    cards: list[str] = [random_token() for _ in range(3)]
    references = [f"opening-{card[-8:]}" for card in cards]
    envelopes = [
        alliance.envelope(
            alliance.presentment(
                "bakery",
                alliance.transaction("bakery", card, reference=reference, open_card=presentment_pb2.OpenCard()),
            )
        )
        for card, reference in zip(cards, references, strict=True)
    ]
    return Secret(envelopes, cards, references)


def before_each_row(alliance: Alliance, table: str, statement: str) -> None:
    """Have the database execute this before each row that is added to the table."""
    function = (
        f"CREATE FUNCTION before_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement} RETURN NEW; END $$"
    )
    with alliance.engine.begin() as connection:
        connection.execute(sqlalchemy.text(function))
        connection.execute(
            sqlalchemy.text(
                f"CREATE TRIGGER before_row BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION before_row()"
            )
        )
