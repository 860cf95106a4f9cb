"""What is signed counts where it was meant, while it is fresh; a merchant sees what is its own, within limits."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import grpc
import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import RetryInfo
from grpc import StatusCode
from grpc_status import rpc_status

from clearing.card_token import random_token
from clearing.clock import system_time
from clearing.contract import instruction as instruction_contract
from clearing.model import Instant, Outcome
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.signing.tokens import make_token
from clearing.v1 import instruction_pb2, presentment_pb2, settlement_pb2
from clearing.v1.audit_pb2 import GetCheckpointRequest
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2 import (
    GetCardRequest,
    GetTransactionRequest,
    ListTransactionsRequest,
    SubmitRequest,
)
from clearing.v1.operations_pb2 import InstructRequest, ListKeysRequest
from merchant_gateway.server.access import Access
from merchant_gateway.server.limits import MerchantLimits
from tests.integration.alliance import ORIGIN, Alliance, founded
from tests.integration.bad_scene import DENIED, NOT_FOUND, UNAUTHENTICATED, Scene, with_signature
from tests.integration.observation import Refusal, refusal, refusal_of, untouched

CLOSE = instruction_pb2.CloseWindow(window="2026-01")
Metadata = tuple[tuple[str, str], ...]


# ---- replay ----


@pytest.fixture
def elsewhere(scene: Scene, database_url: str) -> Iterator[Alliance]:
    """Another alliance, which knows the scene's bakery and operator by the same keys."""
    with founded(database_url, origin="clearing.example/elsewhere") as other:
        other.admit("bakery")
        other.keys["bakery"] = scene.bakery
        other.register(scene.bakery, "ROLE_MERCHANT", merchant="bakery", holder="bakery-till")
        other.register(scene.operator, "ROLE_OPERATOR", holder="operator-of-both")
        yield other


def test_what_was_signed_for_one_alliance_is_worth_nothing_at_another(scene: Scene, elsewhere: Alliance) -> None:
    card = elsewhere.open_card("bakery")
    presented = elsewhere.envelope(
        elsewhere.presentment("bakery", elsewhere.transaction("bakery", card, earn=presentment_pb2.Earn(points=10)))
    )
    payload = elsewhere.instruction(open_store=instruction_pb2.OpenStore(merchant="bakery", store="bakery-2"))
    instructed = sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [scene.operator])
    with untouched(scene.alliance.engine):
        assert scene.submit(presented) == Refusal(DENIED, "WRONG_ORIGIN", "clearing", "origin", "0", False)
        assert scene.instruct(instructed) == Refusal(DENIED, "WRONG_ORIGIN", "clearing", "origin", "", False)
    # There, where it belongs, it counts.
    elsewhere.submit(presented)
    elsewhere.operations.Instruct(InstructRequest(envelope=instructed))


def test_a_token_for_one_alliance_reads_nothing_at_another(scene: Scene, elsewhere: Alliance) -> None:
    token = elsewhere.authorization(scene.bakery)
    heard = refusal(lambda: scene.alliance.audit.GetCheckpoint(GetCheckpointRequest(), metadata=token))
    assert (heard.code, heard.reason) == (UNAUTHENTICATED, "BAD_TOKEN")
    assert elsewhere.audit.GetCheckpoint(GetCheckpointRequest(), metadata=token).checkpoint


def test_what_was_signed_as_one_payload_type_is_worth_nothing_as_another(scene: Scene) -> None:
    """Neither as it is, nor relabelled: the type is part of what is signed."""
    presentment, instruction = scene.earn_by(scene.operator), scene.instructed(close_window=CLOSE)
    presentment_type, instruction_type = presentment.payload_type, instruction.payload_type
    with untouched(scene.alliance.engine):
        assert scene.submit(instruction).reason == "PAYLOAD_TYPE_MISMATCH"
        assert scene.instruct(presentment).reason == "PAYLOAD_TYPE_MISMATCH"
        assert scene.submit(relabelled(instruction, presentment_type)).reason == "BAD_SIGNATURE"
        assert scene.instruct(relabelled(presentment, instruction_type)).reason == "BAD_SIGNATURE"


def relabelled(envelope: Envelope, payload_type: str) -> Envelope:
    return Envelope(payload=envelope.payload, payload_type=payload_type, signatures=envelope.signatures)


def test_an_envelopes_signature_is_no_token_and_a_tokens_is_no_envelopes(scene: Scene) -> None:
    envelope = scene.earn_by(scene.bakery)
    token = make_token(scene.bakery, ORIGIN, system_time())
    head, claims, signature = token.split(".")
    borrowed = base64.urlsafe_b64encode(envelope.signatures[0].sig).rstrip(b"=").decode()
    assert read(scene, f"{head}.{claims}.{borrowed}").reason == "BAD_TOKEN"
    signed_bytes = f"{head}.{claims}".encode()
    as_envelope = with_signature(scene.signed(signed_bytes), base64.urlsafe_b64decode(signature + "=="))
    assert scene.submit(as_envelope).reason == "BAD_SIGNATURE"


@pytest.mark.parametrize(
    ("age_seconds", "lifetime_seconds", "reason"),
    [(61, 60, "TOKEN_EXPIRED"), (86_400, 60, "TOKEN_EXPIRED"), (0, 301, "BAD_TOKEN"), (-3_600, 60, "BAD_TOKEN")],
)
def test_a_token_outside_its_time_reads_nothing(
    scene: Scene, age_seconds: int, lifetime_seconds: int, reason: str
) -> None:
    made_at = Instant(system_time() - age_seconds * 1_000_000)
    heard = read(scene, make_token(scene.bakery, ORIGIN, made_at, lifetime_seconds))
    assert (heard.code, heard.reason) == (UNAUTHENTICATED, reason)


def read(scene: Scene, token: str) -> Refusal:
    """How a read with this token, which must fail, fails."""
    metadata = (("authorization", f"Bearer {token}"),)
    return refusal(lambda: scene.alliance.audit.GetCheckpoint(GetCheckpointRequest(), metadata=metadata))


# ---- reads ----


def every_read(scene: Scene) -> dict[str, Callable[[Metadata], object]]:
    """All calls that only read, as the contract lists them."""
    alliance = scene.alliance
    calls: dict[str, Callable[[Metadata], object]] = {}
    for service, stub in (
        ("MerchantGateway", alliance.merchants),
        ("Operations", alliance.operations),
        ("Settlement", alliance.settlement),
        ("Audit", alliance.audit),
    ):
        for method in Default().FindServiceByName(f"clearing.v1.{service}").methods:
            request = GetMessageClass(method.input_type)()
            calls[method.name] = partial(_called, getattr(stub, method.name), request, method.server_streaming)
    return {name: call for name, call in calls.items() if name not in {"Submit", "Instruct", "GetAlliance"}}


def _called(call: Callable[..., Iterator[object]], request: Message, streams: bool, metadata: Metadata) -> object:
    answer = call(request, metadata=metadata)
    return list(answer) if streams else answer


def test_every_read_needs_a_token_of_a_registered_key(scene: Scene) -> None:
    reads = every_read(scene)
    assert len(reads) == 17
    for name, call in reads.items():
        for metadata, reason in (((), "BAD_TOKEN"), (scene.alliance.authorization(scene.stranger), "UNKNOWN_KEY")):
            heard = refusal(partial(call, metadata))
            assert (name, heard.code, heard.reason) == (name, UNAUTHENTICATED, reason)


def test_a_merchant_sees_the_balance_of_cards_that_it_has_presented_only(scene: Scene) -> None:
    alliance = scene.alliance

    def balance(key: PrivateKey, card: str) -> int:
        request = GetCardRequest(card_token=card)
        return alliance.merchants.GetCard(request, metadata=alliance.authorization(key)).points_available

    card = alliance.open_card("bakery")
    alliance.earn("bakery", card, 70)
    unknown = refusal(lambda: balance(scene.cinema, random_token()))
    assert refusal(lambda: balance(scene.cinema, card)) == unknown, "whether others know a card must not show"
    assert (unknown.code, unknown.reason, unknown.field) == (NOT_FOUND, "NOT_FOUND", "card_token")
    assert balance(scene.bakery, card) == balance(scene.operator, card) == balance(scene.finance, card) == 70
    # Presented is enough: what the cinema asked for, signed, and was refused is in the log.
    assert alliance.burn("cinema", card, 1_000).outcome is Outcome.INSUFFICIENT_POINTS
    assert balance(scene.cinema, card) == 70


def test_a_merchant_sees_its_own_transactions_keys_and_statements_only(scene: Scene) -> None:
    alliance = scene.alliance
    card = alliance.open_card("bakery")
    alliance.earn("bakery", card, 7, reference="of-the-bakery")
    cinema = alliance.authorization(scene.cinema)

    own = GetTransactionRequest(reference="of-the-bakery")
    assert refusal(lambda: alliance.merchants.GetTransaction(own, metadata=cinema)).reason == "NOT_FOUND"
    for call in (
        lambda: alliance.merchants.GetTransaction(
            GetTransactionRequest(merchant="bakery", reference="of-the-bakery"), metadata=cinema
        ),
        lambda: alliance.merchants.ListTransactions(ListTransactionsRequest(merchant="bakery"), metadata=cinema),
        lambda: alliance.operations.ListKeys(ListKeysRequest(merchant="bakery"), metadata=cinema),
        lambda: alliance.settlement.GetStatement(
            settlement_pb2.GetStatementRequest(window="2026-01", merchant="bakery"), metadata=cinema
        ),
    ):
        heard = refusal(call)
        assert (heard.code, heard.reason, heard.field) == (NOT_FOUND, "NOT_FOUND", "merchant")
    listed = alliance.merchants.ListTransactions(ListTransactionsRequest(page_size=1_000), metadata=cinema)
    assert card not in {each.card_token for each in listed.transactions}
    keys = alliance.operations.ListKeys(ListKeysRequest(), metadata=cinema).keys
    assert {key.registration.merchant for key in keys} == {"cinema"}


# ---- limits ----

FEW = MerchantLimits(calls_per_second=1, transactions_per_second=1, burst_seconds=3)


@pytest.fixture
def limited(alliance: Alliance) -> Alliance:
    """An alliance whose merchants may ask for little."""
    alliance.reopen(Access(limits=FEW))
    return alliance


def error_of(call: Callable[[], object]) -> tuple[Refusal, float]:
    """What a call that must fail says, and how many seconds to wait."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    status = rpc_status.from_call(cast(grpc.Call, raised.value))  # grpcio raises the failed call itself
    retry = RetryInfo()
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    return refusal_of(raised.value), retry.retry_delay.ToMilliseconds() / 1_000


def test_a_merchant_above_its_limits_is_told_which_and_when_to_come_back(limited: Alliance) -> None:
    card = limited.open_card("bakery")
    many = [limited.transaction("bakery", card, earn=presentment_pb2.Earn(points=1)) for _ in range(400)]
    limited.present("bakery", *many)
    submit = SubmitRequest(envelopes=[limited.envelope(limited.presentment("bakery", *many))])
    heard, seconds = error_of(lambda: limited.merchants.Submit(submit))
    assert (heard.code, heard.reason) == (StatusCode.RESOURCE_EXHAUSTED, "TRANSACTION_RATE_LIMIT")
    assert 100 < seconds < 400

    def checkpoint(key: PrivateKey) -> object:
        return limited.audit.GetCheckpoint(GetCheckpointRequest(), metadata=limited.authorization(key))

    def calls_in_a_row() -> None:
        for _ in range(100):
            checkpoint(limited.keys["bakery"])

    heard, seconds = error_of(calls_in_a_row)
    assert (heard.code, heard.reason) == (StatusCode.RESOURCE_EXHAUSTED, "CALL_RATE_LIMIT")
    assert 0 < seconds <= 1
    for _ in range(10):
        checkpoint(limited.operator)
    checkpoint(limited.keys["cinema"])


def test_a_call_of_many_envelopes_counts_each_merchants_transactions(limited: Alliance) -> None:
    card = limited.open_card("bakery")

    def signed(merchant: str, transactions: int = 1) -> Envelope:
        earned = [limited.transaction(merchant, card, earn=presentment_pb2.Earn(points=1)) for _ in range(transactions)]
        return limited.envelope(limited.presentment(merchant, *earned))

    limited.submit(*(signed("bakery", 40) for _ in range(10)), signed("cinema"))
    heard, seconds = error_of(partial(limited.merchants.Submit, SubmitRequest(envelopes=[signed("bakery")])))
    assert (heard.reason, heard.envelope_index) == ("TRANSACTION_RATE_LIMIT", "0")
    assert 100 < seconds < 400
    limited.submit(signed("cinema"))


def test_what_is_not_authenticated_uses_up_no_merchants_share(limited: Alliance) -> None:
    card = limited.open_card("cinema")
    earn = limited.transaction("bakery", card, earn=presentment_pb2.Earn(points=1))
    good = limited.envelope(limited.presentment("bakery", earn))
    forged = with_signature(good, bytes(64))
    for _ in range(50):
        assert refusal(lambda: limited.merchants.Submit(SubmitRequest(envelopes=[forged]))).reason == "BAD_SIGNATURE"
    for _ in range(50):
        token = limited.authorization(limited.keys["bakery"])[0][1][:-10] + "AAAAAAAAAA"
        metadata = (("authorization", token),)
        heard = refusal(partial(limited.audit.GetCheckpoint, GetCheckpointRequest(), metadata=metadata))
        assert heard.reason == "BAD_TOKEN"
    limited.submit(good)
