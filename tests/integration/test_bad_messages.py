"""Bad input over gRPC: each kind hears its own reason, and the ledger stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from clearing.card_token import random_token
from clearing.cli.assembly import Gateway
from clearing.clock import system_time
from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.contract.bounds import PAYLOAD_BYTES_MAX
from clearing.contract.entry import decode_entry, timestamp_of
from clearing.envelope import sign_envelope
from clearing.keys import PrivateKey
from clearing.log.note import Signer
from clearing.model import MICROSECONDS_PER_DAY, CardToken, Instant, Outcome
from clearing.receipt import receipt_of
from clearing.store.database import open_engine
from clearing.store.migration import migrate
from clearing.v1 import (
    audit_pb2,
    instruction_pb2,
    merchant_gateway_pb2,
    operations_pb2,
    presentment_pb2,
)
from clearing.v1.envelope_pb2 import Envelope, Signature
from clearing.v1.merchant_gateway_pb2_grpc import MerchantGatewayStub
from clearing.v1.operations_pb2_grpc import OperationsStub
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, ORIGIN, Alliance, founded, local_instant
from tests.integration.observation import Refusal, balances, refusal, untouched

MINUTE = 60_000_000
POINTS_MAX = 1_000_000_000
BALANCE_MAX = 1_000_000_000_000
UNKNOWN_FIELD = b"\xfa\x07\x01x"
"""Field 127 of any message, one byte long."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An alliance with good keys and bad ones, and a card of the bakery with 100 points."""

    alliance: Alliance
    card: CardToken
    expired: PrivateKey
    not_yet_valid: PrivateKey
    revoked: PrivateKey
    finance: PrivateKey
    stranger: PrivateKey

    @property
    def bakery(self) -> PrivateKey:
        return self.alliance.keys["bakery"]

    def earn(self, points: int = 10, *, card: str | None = None, **fields: object) -> presentment_pb2.Transaction:
        earn = presentment_pb2.Earn(points=points)
        return self.alliance.transaction("bakery", self.card if card is None else card, earn=earn, **fields)

    def burn(self, points: int) -> presentment_pb2.Transaction:
        return self.alliance.transaction("bakery", self.card, burn=presentment_pb2.Burn(points=points))

    def refund(self, points: int) -> presentment_pb2.Transaction:
        refund = presentment_pb2.Refund(original_reference="r", points=points)
        return self.alliance.transaction("bakery", self.card, refund=refund)

    def presented(
        self, *transactions: presentment_pb2.Transaction, merchant: str = "bakery", **fields: object
    ) -> bytes:
        return self.alliance.presentment(merchant, *transactions, **fields).SerializeToString()

    def signed(self, payload: bytes, *signers: PrivateKey) -> Envelope:
        return sign_envelope(payload, presentment_contract.PAYLOAD_TYPE, signers or [self.bakery])

    def of(self, *transactions: presentment_pb2.Transaction, **fields: object) -> Envelope:
        return self.signed(self.presented(*transactions, **fields))

    def instructed(self, *signers: PrivateKey, issued_at: Instant | None = None, **action: object) -> Envelope:
        payload = self.alliance.instruction(issued_at=issued_at, **action)
        return sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, signers or [self.alliance.operator])

    def submit(self, *envelopes: Envelope) -> Refusal:
        request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes)
        return refusal(lambda: self.alliance.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS))

    def instruct(self, envelope: Envelope) -> Refusal:
        request = operations_pb2.InstructRequest(envelope=envelope)
        return refusal(lambda: self.alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS))


@pytest.fixture(scope="module")
def scene(shared_alliance: Alliance) -> Scene:
    alliance = shared_alliance
    bad = Scene(alliance, alliance.open_card("bakery"), *(PrivateKey.generate() for _ in range(5)))
    tills = {"role": "ROLE_MERCHANT", "merchant": "bakery", "holder": "bakery-till"}
    soon = timestamp_of(Instant(alliance.now + 60 * 1_000_000))
    alliance.register(bad.expired, valid_until=soon, **tills)
    alliance.register(bad.not_yet_valid, valid_from=timestamp_of(local_instant("2099-01-01")), **tills)
    alliance.register(bad.revoked, **tills)
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=bad.revoked.key_id))
    alliance.register(bad.finance, "ROLE_FINANCE", holder="finance-1")
    alliance.travel("2026-01-20 12:00:00")
    alliance.earn("bakery", bad.card, 100)
    return bad


def altered(envelope: Envelope, **fields: object) -> Envelope:
    """The envelope with other fields and the signatures it had."""
    changed = Envelope()
    changed.CopyFrom(envelope)
    changed.MergeFrom(Envelope(**fields))  # type: ignore[arg-type]  # any of its fields
    return changed


def with_first_signature(envelope: Envelope, sig: bytes, keyid: str | None = None) -> Envelope:
    first = envelope.signatures[0]
    changed = Signature(sig=sig, keyid=first.keyid if keyid is None else keyid)
    return Envelope(payload=envelope.payload, payload_type=envelope.payload_type, signatures=[changed])


def in_eight_days() -> Timestamp:
    return timestamp_of(Instant(system_time() + 8 * MICROSECONDS_PER_DAY))


INVALID, UNAUTHENTICATED, DENIED = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.UNAUTHENTICATED,
    StatusCode.PERMISSION_DENIED,
)
Case = tuple[str, Callable[[Scene], Envelope], StatusCode, str, str]

WRONG_SIGNERS: Sequence[Case] = (
    ("altered signature", lambda s: with_first_signature(s.of(s.earn()), bytes(64)), UNAUTHENTICATED, "BAD_SIGNATURE", "signatures"),
    ("short signature", lambda s: with_first_signature(s.of(s.earn()), b"x"), UNAUTHENTICATED, "BAD_SIGNATURE", "signatures"),
    ("altered payload", lambda s: altered(s.of(s.earn(1)), payload=s.presented(s.earn(2))), UNAUTHENTICATED, "BAD_SIGNATURE", "signatures"),
    ("another key's keyid", lambda s: with_first_signature(s.of(s.earn()), s.of(s.earn()).signatures[0].sig, s.alliance.keys["cinema"].key_id), UNAUTHENTICATED, "BAD_SIGNATURE", "signatures"),
    ("unknown key", lambda s: s.signed(s.presented(s.earn()), s.stranger), UNAUTHENTICATED, "UNKNOWN_KEY", "signatures"),
    ("unknown key beside a good one", lambda s: s.signed(s.presented(s.earn()), s.bakery, s.stranger), UNAUTHENTICATED, "UNKNOWN_KEY", "signatures"),
    ("expired key", lambda s: s.signed(s.presented(s.earn()), s.expired), UNAUTHENTICATED, "KEY_EXPIRED", ""),
    ("key not valid yet", lambda s: s.signed(s.presented(s.earn()), s.not_yet_valid), UNAUTHENTICATED, "KEY_NOT_YET_VALID", ""),
    ("revoked key", lambda s: s.signed(s.presented(s.earn()), s.revoked), UNAUTHENTICATED, "KEY_REVOKED", ""),
    ("another merchant's key", lambda s: s.signed(s.presented(s.earn()), s.alliance.keys["cinema"]), DENIED, "MERCHANT_MISMATCH", "merchant"),
    ("another merchant's key beside a good one", lambda s: s.signed(s.presented(s.earn()), s.bakery, s.alliance.keys["cinema"]), DENIED, "MERCHANT_MISMATCH", "merchant"),
    ("unknown merchant", lambda s: s.of(s.earn(), merchant="florist"), DENIED, "MERCHANT_MISMATCH", "merchant"),
    ("operator's key", lambda s: s.signed(s.presented(s.earn()), s.alliance.operator), DENIED, "ROLE_NOT_ALLOWED", ""),
    ("finance's key", lambda s: s.signed(s.presented(s.earn()), s.finance), DENIED, "ROLE_NOT_ALLOWED", ""),
    ("wrong origin", lambda s: s.of(s.earn(), origin="clearing.example/other"), DENIED, "WRONG_ORIGIN", "origin"),
    ("endless origin", lambda s: s.of(s.earn(), origin="\N{EURO SIGN}" * 15_000), DENIED, "WRONG_ORIGIN", "origin"),
)  # fmt: skip

WRONG_SHAPES: Sequence[Case] = (
    ("no payload", lambda s: s.signed(b""), INVALID, "MALFORMED_ENVELOPE", "payload"),
    ("no signature", lambda s: Envelope(payload=b"x", payload_type=presentment_contract.PAYLOAD_TYPE), INVALID, "MALFORMED_ENVELOPE", "signatures"),
    ("nine signatures", lambda s: s.signed(b"x", *[PrivateKey.generate() for _ in range(9)]), INVALID, "MALFORMED_ENVELOPE", "signatures"),
    ("one key twice", lambda s: s.signed(s.presented(s.earn()), s.bakery, s.bakery), INVALID, "MALFORMED_ENVELOPE", "signatures"),
    ("field unknown to the envelope", lambda s: Envelope.FromString(s.of(s.earn()).SerializeToString() + UNKNOWN_FIELD), INVALID, "UNKNOWN_FIELDS", ""),
    ("payload type of an instruction", lambda s: s.instructed(s.bakery, close_window=instruction_pb2.CloseWindow(window="2026-01")), INVALID, "PAYLOAD_TYPE_MISMATCH", "payload_type"),
    ("instruction as presentment", lambda s: s.signed(s.alliance.instruction(close_window=instruction_pb2.CloseWindow(window="2026-01"))), INVALID, "MALFORMED_PAYLOAD", ""),
    ("truncated payload", lambda s: s.signed(s.presented(s.earn())[:-3]), INVALID, "MALFORMED_PAYLOAD", ""),
    ("random bytes", lambda s: s.signed(b"\xff" * 64), INVALID, "MALFORMED_PAYLOAD", ""),
    ("field unknown to the presentment", lambda s: s.signed(s.presented(s.earn()) + UNKNOWN_FIELD), INVALID, "UNKNOWN_FIELDS", ""),
    ("oversized payload", lambda s: s.signed(bytes(PAYLOAD_BYTES_MAX + 1)), INVALID, "PAYLOAD_TOO_LARGE", "payload"),
    ("no transaction", lambda s: s.of(), INVALID, "EMPTY_PRESENTMENT", "transactions"),
    ("501 transactions", lambda s: s.of(*[presentment_pb2.Transaction(reference=f"n-{n}") for n in range(501)]), INVALID, "INVALID_FIELD", "transactions"),
    ("presented in the future", lambda s: s.of(s.earn(), presented_at=in_eight_days()), INVALID, "CLOCK_SKEW", "presented_at"),
    ("presented at no time", lambda s: s.of(s.earn(), presented_at=None), INVALID, "INVALID_FIELD", "presented_at"),
    ("presented after the calendar", lambda s: s.of(s.earn(), presented_at=Timestamp(seconds=2**62)), INVALID, "INVALID_FIELD", "presented_at"),
    ("merchant in capitals", lambda s: s.of(s.earn(), merchant="BAKERY"), INVALID, "INVALID_FIELD", "merchant"),
    ("the pool as merchant", lambda s: s.of(s.earn(), merchant="pool"), INVALID, "INVALID_FIELD", "merchant"),
)  # fmt: skip

WRONG_TRANSACTIONS: Sequence[Case] = (
    *(
        (f"earn of {points}", lambda s, points=points: s.of(s.earn(), s.earn(points)), INVALID, "POINTS_OUT_OF_RANGE", "transactions[1].earn.points")  # type: ignore[misc]
        for points in (0, -1, POINTS_MAX + 1, 2**63 - 1, -(2**63))
    ),
    *(
        (f"burn of {points}", lambda s, points=points: s.of(s.burn(points)), INVALID, "POINTS_OUT_OF_RANGE", "transactions[0].burn.points")  # type: ignore[misc]
        for points in (0, -1, POINTS_MAX + 1, 2**63 - 1)
    ),
    *(
        (f"refund of {points}", lambda s, points=points: s.of(s.refund(points)), INVALID, "POINTS_OUT_OF_RANGE", "transactions[0].refund.points")  # type: ignore[misc]
        for points in (0, -1, POINTS_MAX + 1, 2**63 - 1)
    ),
    *(
        (f"card {card!r}", lambda s, card=card: s.of(s.earn(card=card)), INVALID, "MALFORMED_CARD_TOKEN", "transactions[0].card_token")  # type: ignore[misc]
        for card in ("", "+49 170 1234567", "4111111111111111", "card_" + "8" * 26, "card_" + "0" * 25, "card_" + "I" * 26, "card_" + "0" * 26 + "\n", "a@b.example")
    ),
    ("no reference", lambda s: s.of(presentment_pb2.Transaction(card_token=s.card)), INVALID, "INVALID_FIELD", "transactions[0].reference"),
    ("reference with a blank", lambda s: s.of(s.earn(reference="a b")), INVALID, "INVALID_FIELD", "transactions[0].reference"),
    ("reference of 65", lambda s: s.of(s.earn(reference="r" * 65)), INVALID, "INVALID_FIELD", "transactions[0].reference"),
    ("original without a reference", lambda s: s.of(s.alliance.transaction("bakery", s.card, refund=presentment_pb2.Refund())), INVALID, "INVALID_FIELD", "transactions[0].refund.original_reference"),
    ("no store", lambda s: s.of(s.earn(store="")), INVALID, "INVALID_FIELD", "transactions[0].store"),
    ("no time", lambda s: s.of(s.earn(occurred_at=None)), INVALID, "INVALID_FIELD", "transactions[0].occurred_at"),
    ("no channel", lambda s: s.of(s.earn(channel=0)), INVALID, "INVALID_FIELD", "transactions[0].channel"),
    ("channel 99", lambda s: s.of(s.earn(channel=99)), INVALID, "INVALID_FIELD", "transactions[0].channel"),
    ("unit in small letters", lambda s: s.of(s.earn(unit="pts")), INVALID, "INVALID_FIELD", "transactions[0].unit"),
    ("no kind", lambda s: s.of(s.alliance.transaction("bakery", s.card)), INVALID, "INVALID_FIELD", "transactions[0].kind"),
    ("negative purchase", lambda s: s.of(s.alliance.transaction("bakery", s.card, earn=presentment_pb2.Earn(points=1, purchase_amount_minor=-1))), INVALID, "INVALID_FIELD", "transactions[0].earn.purchase_amount_minor"),
)  # fmt: skip

PRESENTMENTS = (*WRONG_SIGNERS, *WRONG_SHAPES, *WRONG_TRANSACTIONS)


@pytest.mark.parametrize(("build", "code", "reason", "field"), [case[1:] for case in PRESENTMENTS], ids=[case[0] for case in PRESENTMENTS])  # fmt: skip
def test_a_bad_envelope_is_named_and_its_call_leaves_the_ledger_untouched(
    scene: Scene, build: Callable[[Scene], Envelope], code: StatusCode, reason: str, field: str
) -> None:
    bad = build(scene)
    with untouched(scene.alliance.engine):
        assert scene.submit(scene.of(scene.earn()), bad) == Refusal(code, reason, "clearing", field, "1", False)


CLOSE = instruction_pb2.CloseWindow(window="2025-12")
ADMIT = instruction_pb2.AdmitMerchant(merchant="florist", legal_name="Florist")


def registration(key: PrivateKey) -> instruction_pb2.RegisterKey:
    return instruction_pb2.RegisterKey(public_key=key.public_key, role="ROLE_AUDITOR", holder="auditor-1")


INSTRUCTIONS: Sequence[Case] = (
    ("merchant's key", lambda s: s.instructed(s.bakery, admit_merchant=ADMIT), DENIED, "ROLE_NOT_ALLOWED", ""),
    ("finance admits", lambda s: s.instructed(s.finance, admit_merchant=ADMIT), DENIED, "ROLE_NOT_ALLOWED", ""),
    ("merchant's key beside the operator's", lambda s: s.instructed(s.alliance.operator, s.bakery, admit_merchant=ADMIT), DENIED, "ROLE_NOT_ALLOWED", ""),
    ("unknown key", lambda s: s.instructed(s.stranger, admit_merchant=ADMIT), UNAUTHENTICATED, "UNKNOWN_KEY", "signatures"),
    ("unknown key beside the operator's", lambda s: s.instructed(s.alliance.operator, s.stranger, admit_merchant=ADMIT), UNAUTHENTICATED, "UNKNOWN_KEY", "signatures"),
    ("altered signature", lambda s: with_first_signature(s.instructed(admit_merchant=ADMIT), bytes(64)), UNAUTHENTICATED, "BAD_SIGNATURE", "signatures"),
    ("presentment's type", lambda s: s.of(s.earn()), INVALID, "PAYLOAD_TYPE_MISMATCH", "payload_type"),
    ("no envelope", lambda s: Envelope(), INVALID, "PAYLOAD_TYPE_MISMATCH", "payload_type"),
    ("truncated payload", lambda s: sign_envelope(s.alliance.instruction(admit_merchant=ADMIT)[:-3], instruction_contract.PAYLOAD_TYPE, [s.alliance.operator]), INVALID, "MALFORMED_PAYLOAD", ""),
    ("no action", lambda s: s.instructed(), INVALID, "INVALID_FIELD", "action"),
    ("the pool as merchant", lambda s: s.instructed(admit_merchant=instruction_pb2.AdmitMerchant(merchant="pool", legal_name="Pool")), INVALID, "INVALID_FIELD", "admit_merchant.merchant"),
    ("control character in a name", lambda s: s.instructed(admit_merchant=instruction_pb2.AdmitMerchant(merchant="florist", legal_name="Flo\0rist")), INVALID, "INVALID_FIELD", "admit_merchant.legal_name"),
    ("no such month", lambda s: s.instructed(close_window=instruction_pb2.CloseWindow(window="2026-13")), INVALID, "INVALID_FIELD", "close_window.window"),
    ("no such day", lambda s: s.instructed(set_terms=instruction_pb2.SetTerms(effective_from="2026-02-30", issuance_price="1", redemption_price="1")), INVALID, "INVALID_FIELD", "set_terms.effective_from"),
    ("price with a sign", lambda s: s.instructed(set_terms=instruction_pb2.SetTerms(effective_from="2026-02-01", issuance_price="-1", redemption_price="1")), INVALID, "INVALID_FIELD", "set_terms.issuance_price"),
    ("wrong origin", lambda s: sign_envelope(instruction_pb2.Instruction(origin="other.example", issued_at=timestamp_of(s.alliance.now), reference="i", admit_merchant=ADMIT).SerializeToString(), instruction_contract.PAYLOAD_TYPE, [s.alliance.operator]), DENIED, "WRONG_ORIGIN", "origin"),
    ("issued in the future", lambda s: s.instructed(issued_at=Instant(system_time() + 6 * MINUTE), admit_merchant=ADMIT), INVALID, "CLOCK_SKEW", "issued_at"),
    ("no proof of possession", lambda s: s.instructed(register_key=registration(s.stranger)), DENIED, "MISSING_PROOF_OF_POSSESSION", "signatures"),
    ("a key that registers itself", lambda s: s.instructed(s.stranger, register_key=registration(s.stranger)), UNAUTHENTICATED, "UNKNOWN_KEY", "signatures"),
    ("registration by a merchant", lambda s: s.instructed(s.bakery, s.stranger, register_key=registration(s.stranger)), DENIED, "ROLE_NOT_ALLOWED", ""),
    ("endless verifier of a second founding", lambda s: s.instructed(create_alliance=instruction_pb2.CreateAlliance(time_zone="Europe/Berlin", log_verifier="x" * 40_000)), INVALID, "INVALID_FIELD", "create_alliance.log_verifier"),
)  # fmt: skip


@pytest.mark.parametrize(("build", "code", "reason", "field"), [case[1:] for case in INSTRUCTIONS], ids=[case[0] for case in INSTRUCTIONS])  # fmt: skip
def test_a_bad_instruction_is_named_and_leaves_the_ledger_untouched(
    scene: Scene, build: Callable[[Scene], Envelope], code: StatusCode, reason: str, field: str
) -> None:
    with untouched(scene.alliance.engine):
        assert scene.instruct(build(scene)) == Refusal(code, reason, "clearing", field, "", False)


# ---- calls ----


def test_a_call_without_envelopes_or_with_501_or_beyond_two_mebibytes_is_refused(scene: Scene) -> None:
    expected = Refusal(INVALID, "CALL_SIZE", "clearing", "envelopes", "", False)
    small, large = Envelope(payload=b"x"), Envelope(payload=bytes(PAYLOAD_BYTES_MAX))
    with untouched(scene.alliance.engine):
        for envelopes in ([], [small] * 501, [large] * 43, [large] * 120):
            assert scene.submit(*envelopes) == expected


@pytest.mark.parametrize("request_bytes", [b"\xff" * 40, b"\n\x7fcut short", b"\n\x02\x12\x00"])
def test_bytes_that_are_no_request_are_the_callers_fault(scene: Scene, request_bytes: bytes) -> None:
    submit = scene.alliance.channel.unary_unary("/clearing.v1.MerchantGateway/Submit")
    list_entries = scene.alliance.channel.unary_stream("/clearing.v1.Audit/ListEntries")
    with untouched(scene.alliance.engine):
        heard = refusal(lambda: submit(request_bytes, timeout=CALL_TIMEOUT_SECONDS))
        assert heard.code is INVALID
        heard = refusal(lambda: list(list_entries(b"\xff" * 40, timeout=CALL_TIMEOUT_SECONDS)))
        assert (heard.code, heard.reason) == (INVALID, "MALFORMED_PAYLOAD")


def test_receipts_that_would_not_fit_into_an_answer_are_asked_for_in_smaller_calls(scene: Scene) -> None:
    card = scene.alliance.open_card("bakery")
    transactions = [scene.earn(card=card, reference=f"{n:0>64}") for n in range(300)]
    scene.alliance.submit(scene.of(*transactions))
    singles = [scene.of(transaction) for transaction in transactions]
    with untouched(scene.alliance.engine):
        assert scene.submit(*singles) == Refusal(INVALID, "CALL_SIZE", "clearing", "envelopes", "", False)
        assert all(receipt.replayed for receipt in scene.alliance.submit(*singles[:50]))


# ---- reads ----


def as_operator(scene: Scene) -> tuple[tuple[str, str], ...]:
    return scene.alliance.authorization(scene.alliance.operator)


READS: Sequence[tuple[str, Callable[[Scene], object], StatusCode, str, str]] = (
    ("no token", lambda s: s.alliance.merchants.GetCard(merchant_gateway_pb2.GetCardRequest(card_token=s.card)), UNAUTHENTICATED, "BAD_TOKEN", ""),
    ("token of an unknown key", lambda s: s.alliance.merchants.GetCard(merchant_gateway_pb2.GetCardRequest(card_token=s.card), metadata=s.alliance.authorization(s.stranger)), UNAUTHENTICATED, "UNKNOWN_KEY", ""),
    ("token of a revoked key", lambda s: s.alliance.merchants.GetCard(merchant_gateway_pb2.GetCardRequest(card_token=s.card), metadata=s.alliance.authorization(s.revoked)), UNAUTHENTICATED, "KEY_REVOKED", ""),
    ("phone number as card", lambda s: s.alliance.merchants.GetCard(merchant_gateway_pb2.GetCardRequest(card_token="+49 170 1234567"), metadata=as_operator(s)), INVALID, "MALFORMED_CARD_TOKEN", "card_token"),
    ("unknown card", lambda s: s.alliance.merchants.GetCard(merchant_gateway_pb2.GetCardRequest(card_token=random_token()), metadata=as_operator(s)), StatusCode.NOT_FOUND, "NOT_FOUND", "card_token"),
    ("zero byte in a merchant", lambda s: s.alliance.merchants.ListTransactions(merchant_gateway_pb2.ListTransactionsRequest(merchant="a\0b"), metadata=as_operator(s)), INVALID, "INVALID_FIELD", "merchant"),
    ("another merchant's transactions", lambda s: s.alliance.merchants.ListTransactions(merchant_gateway_pb2.ListTransactionsRequest(merchant="cinema"), metadata=s.alliance.authorization(s.bakery)), StatusCode.NOT_FOUND, "NOT_FOUND", "merchant"),
    ("negative page", lambda s: s.alliance.merchants.ListTransactions(merchant_gateway_pb2.ListTransactionsRequest(merchant="bakery", page_size=-1), metadata=as_operator(s)), INVALID, "INVALID_FIELD", "page_size"),
    ("page token beyond 2^63", lambda s: s.alliance.merchants.ListTransactions(merchant_gateway_pb2.ListTransactionsRequest(merchant="bakery", page_token="99999999999999999999.1"), metadata=as_operator(s)), INVALID, "INVALID_FIELD", "page_token"),
    ("page token with a position beyond a presentment", lambda s: s.alliance.merchants.ListTransactions(merchant_gateway_pb2.ListTransactionsRequest(merchant="bakery", page_token="1.99999999999"), metadata=as_operator(s)), INVALID, "INVALID_FIELD", "page_token"),
    ("page token with other digits", lambda s: s.alliance.merchants.ListTransactions(merchant_gateway_pb2.ListTransactionsRequest(merchant="bakery", page_token="\u0661.\u0661"), metadata=as_operator(s)), INVALID, "INVALID_FIELD", "page_token"),
    ("no month", lambda s: s.alliance.merchants.ListTransactions(merchant_gateway_pb2.ListTransactionsRequest(merchant="bakery", window="2026-1"), metadata=as_operator(s)), INVALID, "INVALID_FIELD", "window"),
    ("unknown reference", lambda s: s.alliance.merchants.GetTransaction(merchant_gateway_pb2.GetTransactionRequest(merchant="bakery", reference="nothing"), metadata=as_operator(s)), StatusCode.NOT_FOUND, "NOT_FOUND", "reference"),
    ("entries for a merchant", lambda s: list(s.alliance.audit.ListEntries(audit_pb2.ListEntriesRequest(end_index=1), metadata=s.alliance.authorization(s.bakery))), DENIED, "ROLE_NOT_ALLOWED", ""),
    ("entries beyond the log", lambda s: list(s.alliance.audit.ListEntries(audit_pb2.ListEntriesRequest(end_index=2**64 - 1), metadata=as_operator(s))), INVALID, "INVALID_FIELD", "end_index"),
    ("consistency with nothing", lambda s: s.alliance.audit.GetConsistencyProof(audit_pb2.GetConsistencyProofRequest(), metadata=as_operator(s)), INVALID, "INVALID_FIELD", "old_size"),
    ("inclusion beyond the log", lambda s: s.alliance.audit.GetInclusionProof(audit_pb2.GetInclusionProofRequest(index=2**63), metadata=as_operator(s)), StatusCode.NOT_FOUND, "NOT_FOUND", "index"),
)  # fmt: skip


@pytest.mark.parametrize(("read", "code", "reason", "field"), [case[1:] for case in READS], ids=[case[0] for case in READS])  # fmt: skip
def test_a_bad_read_is_named(
    scene: Scene, read: Callable[[Scene], object], code: StatusCode, reason: str, field: str
) -> None:
    assert refusal(lambda: read(scene)) == Refusal(code, reason, "clearing", field, "", False)


# ---- what is decided, and refused ----


@dataclass(frozen=True, slots=True)
class Till:
    """What decided refusals start from: transactions that were accepted, and a card that can hold no more."""

    scene: Scene
    full_card: CardToken

    def of(self, merchant: str, card: str | None = None, **fields: object) -> presentment_pb2.Transaction:
        return self.scene.alliance.transaction(merchant, card or self.scene.card, **fields)

    def refund(self, merchant: str, original: str, *, card: str | None = None, points: int | None = None) -> presentment_pb2.Transaction:  # fmt: skip
        refund = presentment_pb2.Refund(original_reference=original, points=points)
        return self.of(merchant, card, refund=refund)

    def at(self, microseconds: int) -> Timestamp:
        return timestamp_of(Instant(self.scene.alliance.now + microseconds))


@pytest.fixture(scope="module")
def till(scene: Scene) -> Till:
    alliance = scene.alliance
    full_card = alliance.open_card("bakery")
    for part in range(2):
        earns = [scene.earn(POINTS_MAX, card=full_card, reference=f"full-{part}-{n}") for n in range(500)]
        assert {result.outcome for result in alliance.present("bakery", *earns)} == {Outcome.ACCEPTED}
    alliance.earn("bakery", scene.card, 30, reference="earned")
    alliance.earn("bakery", scene.card, 20, reference="taken-back")
    alliance.refund("bakery", scene.card, "taken-back", reference="the-refund")
    assert alliance.earn("bakery", scene.card, 5, reference="refused", store="nowhere").outcome is Outcome.UNKNOWN_STORE
    return Till(scene, full_card)


EARN = presentment_pb2.Earn(points=1)
BURN = presentment_pb2.Burn
REFUSALS: Sequence[tuple[Outcome, str, Callable[[Till], presentment_pb2.Transaction]]] = (
    (Outcome.UNKNOWN_CARD, "bakery", lambda t: t.of("bakery", random_token(), earn=EARN)),
    (Outcome.UNKNOWN_CARD, "bakery", lambda t: t.of("bakery", random_token(), burn=BURN(points=1))),
    (Outcome.UNKNOWN_CARD, "bakery", lambda t: t.refund("bakery", "earned", card=random_token())),
    (Outcome.CARD_EXISTS, "bakery", lambda t: t.of("bakery", open_card=presentment_pb2.OpenCard())),
    (Outcome.UNKNOWN_STORE, "bakery", lambda t: t.of("bakery", store="moon-1", earn=EARN)),
    (Outcome.STORE_OF_ANOTHER_MERCHANT, "bakery", lambda t: t.of("bakery", store="cinema-1", earn=EARN)),
    (Outcome.UNKNOWN_UNIT, "bakery", lambda t: t.of("bakery", unit="EUR", earn=EARN)),
    (Outcome.OCCURRED_IN_FUTURE, "bakery", lambda t: t.of("bakery", occurred_at=t.at(6 * MINUTE), earn=EARN)),
    (Outcome.LATE_PRESENTMENT, "bakery", lambda t: t.of("bakery", occurred_at=t.at(-8 * MICROSECONDS_PER_DAY), earn=EARN)),
    (Outcome.INSUFFICIENT_POINTS, "cinema", lambda t: t.of("cinema", burn=BURN(points=131))),
    (Outcome.INSUFFICIENT_POINTS, "cinema", lambda t: t.of("cinema", burn=BURN(points=POINTS_MAX))),
    (Outcome.BALANCE_LIMIT_EXCEEDED, "bakery", lambda t: t.of("bakery", t.full_card, earn=EARN)),
    (Outcome.BALANCE_LIMIT_EXCEEDED, "cinema", lambda t: t.of("cinema", t.full_card, earn=presentment_pb2.Earn(points=POINTS_MAX))),
    (Outcome.UNKNOWN_ORIGINAL, "bakery", lambda t: t.refund("bakery", "never-presented")),
    (Outcome.UNKNOWN_ORIGINAL, "cinema", lambda t: t.refund("cinema", "earned")),
    (Outcome.ORIGINAL_OF_ANOTHER_CARD, "bakery", lambda t: t.refund("bakery", "earned", card=t.full_card)),
    (Outcome.ORIGINAL_NOT_ACCEPTED, "bakery", lambda t: t.refund("bakery", "refused")),
    (Outcome.ORIGINAL_NOT_REFUNDABLE, "bakery", lambda t: t.refund("bakery", "the-refund")),
    (Outcome.ALREADY_REFUNDED, "bakery", lambda t: t.refund("bakery", "taken-back")),
    (Outcome.REFUND_EXCEEDS_REMAINING, "bakery", lambda t: t.refund("bakery", "earned", points=31)),
)  # fmt: skip


@pytest.mark.parametrize(("outcome", "merchant", "build"), REFUSALS)
def test_a_refused_transaction_moves_nothing_and_is_logged_and_provable(
    till: Till, outcome: Outcome, merchant: str, build: Callable[[Till], presentment_pb2.Transaction]
) -> None:
    alliance = till.scene.alliance
    transaction = build(till)
    with untouched(alliance.engine, entries_more=1):
        (result,) = alliance.present(merchant, transaction)
    assert (result.outcome, result.points, result.original_index) == (outcome, 0, None)

    request = merchant_gateway_pb2.GetTransactionRequest(reference=transaction.reference)
    proof = alliance.merchants.GetTransaction(request, metadata=alliance.authorization(alliance.keys[merchant]))
    assert alliance.verified(proof.receipt).transaction_results == (result,)
    assert receipt_of(proof.receipt).replayed


def test_a_reference_reused_with_other_content_is_refused_and_the_original_stands(till: Till) -> None:
    alliance = till.scene.alliance
    with untouched(alliance.engine, entries_more=1):
        result = alliance.earn("bakery", till.scene.card, 31, reference="earned")
    assert (result.outcome, result.points) == (Outcome.REFERENCE_REUSED, 0)
    request = merchant_gateway_pb2.GetTransactionRequest(reference="earned")
    proof = alliance.merchants.GetTransaction(request, metadata=alliance.authorization(alliance.keys["bakery"]))
    (original,) = decode_entry(proof.receipt.entry).transaction_results
    assert (original.outcome, original.points) == (Outcome.ACCEPTED, 30)


def test_an_atomic_presentment_with_one_refusal_moves_nothing(till: Till) -> None:
    alliance = till.scene.alliance
    transactions = [till.scene.earn(5), till.scene.burn(1_000), till.scene.earn(5)]
    with untouched(alliance.engine, entries_more=1):
        results = alliance.present("bakery", *transactions, atomic=True)
    aborted, refused = Outcome.ATOMIC_ABORTED, Outcome.INSUFFICIENT_POINTS
    assert [result.outcome for result in results] == [aborted, refused, aborted]


def test_a_full_card_can_still_be_burned_from_and_refunded(till: Till) -> None:
    alliance = till.scene.alliance
    before = balances(alliance.engine)
    burned = alliance.burn("cinema", till.full_card, POINTS_MAX, reference="from-full")
    assert (burned.outcome, burned.points_available) == (Outcome.ACCEPTED, BALANCE_MAX - POINTS_MAX)
    refunded = alliance.refund("cinema", till.full_card, "from-full")
    assert (refunded.outcome, refunded.points_available) == (Outcome.ACCEPTED, BALANCE_MAX)
    assert balances(alliance.engine).splitlines()[:-1] == before.splitlines()[:-1]


def test_an_instruction_that_cannot_be_carried_out_is_logged_and_changes_nothing(scene: Scene) -> None:
    alliance = scene.alliance
    outcomes = {
        Outcome.UNKNOWN_MERCHANT: {"open_store": instruction_pb2.OpenStore(merchant="florist", store="florist-1")},
        Outcome.MERCHANT_EXISTS: {
            "admit_merchant": instruction_pb2.AdmitMerchant(merchant="bakery", legal_name="Bakery")
        },
        Outcome.STORE_EXISTS: {"open_store": instruction_pb2.OpenStore(merchant="bakery", store="cinema-1")},
        Outcome.KEY_NOT_REGISTERED: {"revoke_key": instruction_pb2.RevokeKey(keyid="0" * 32)},
        Outcome.WINDOW_OUT_OF_ORDER: {"close_window": CLOSE},
        Outcome.UNKNOWN_CARD: {"expire_lots": instruction_pb2.ExpireLots(card_tokens=[random_token()])},
    }
    directory = alliance.gateway.writer.directory
    with untouched(alliance.engine, entries_more=len(outcomes)):
        for outcome, action in outcomes.items():
            result = alliance.instruct(**action).instruction_result
            assert result is not None
            assert result.outcome is outcome
    assert alliance.gateway.writer.directory == directory


# ---- alliances of other constitutions ----


def test_four_eyes_take_the_signatures_of_two_people(database_url: str) -> None:
    with founded(database_url, four_eyes=True) as alliance:
        second_key = PrivateKey.generate()
        both = [alliance.operator, alliance.second_operator]
        registration = instruction_pb2.RegisterKey(
            public_key=second_key.public_key, role="ROLE_OPERATOR", holder="operator-1"
        )
        alliance.accept(signers=[*both, second_key], register_key=registration)

        refused = Refusal(DENIED, "SECOND_SIGNATURE_REQUIRED", "clearing", "", "", False)
        with untouched(alliance.engine):
            # Alone, and with a second key of the same person.
            for signers in ([alliance.operator], [alliance.operator, second_key]):
                assert refusal(lambda signers=signers: alliance.instruct(signers=signers, admit_merchant=ADMIT)) == refused  # type: ignore[misc]  # fmt: skip
        alliance.accept(signers=both, admit_merchant=ADMIT)


def test_under_the_system_clock_a_late_or_early_till_is_told_so(database_url: str) -> None:
    with founded(database_url, clock="CLOCK_SYSTEM") as alliance:
        alliance.admit("bakery")
        card = alliance.open_card("bakery")
        now = system_time()
        early = timestamp_of(Instant(now + 6 * MINUTE))
        late = timestamp_of(Instant(now - 8 * MICROSECONDS_PER_DAY))
        with untouched(alliance.engine, entries_more=2):
            assert alliance.earn("bakery", card, 1, occurred_at=early).outcome is Outcome.OCCURRED_IN_FUTURE
            assert alliance.earn("bakery", card, 1, occurred_at=late).outcome is Outcome.LATE_PRESENTMENT
        # A presentment from the past is as good as any: it may have waited for a network.
        old = alliance.presentment("bakery", alliance.transaction("bakery", card, earn=EARN), presented_at=late)
        (receipt,) = alliance.submit(alliance.envelope(old))
        assert decode_entry(receipt.entry).accepted_at >= now
        assert decode_entry(receipt.entry).transaction_results[0].outcome is Outcome.ACCEPTED


def test_a_second_founding_is_refused_and_logged(scene: Scene) -> None:
    alliance = scene.alliance
    operator_key = instruction_pb2.RegisterKey(
        public_key=alliance.operator.public_key, role="ROLE_OPERATOR", holder="operator-1"
    )
    founding = instruction_pb2.CreateAlliance(
        unit="PTS",
        currency="EUR",
        currency_decimals=2,
        time_zone="Europe/Berlin",
        settlement_method="SETTLEMENT_METHOD_POOL",
        clock="CLOCK_SYSTEM",
        log_verifier=alliance.log_key.vkey,
        operator_keys=[operator_key],
        lot_lifetime_months=12,
        late_presentment_days=7,
        issuance_price="0.01",
        redemption_price="0.01",
        rules_version=1,
    )
    with untouched(alliance.engine, entries_more=1):
        result = alliance.instruct(create_alliance=founding).instruction_result
    assert result is not None
    assert result.outcome is Outcome.ALLIANCE_EXISTS


def test_before_the_founding_nothing_but_a_founding_with_this_log_key_is_taken(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate(engine)
    key = PrivateKey.generate()
    card = random_token()
    earn = presentment_pb2.Transaction(reference="t", card_token=card, store="s", earn=EARN)
    presentment = presentment_pb2.Presentment(origin=ORIGIN, merchant="bakery", transactions=[earn])
    presented = sign_envelope(presentment.SerializeToString(), presentment_contract.PAYLOAD_TYPE, [key])
    instruction = instruction_pb2.Instruction(
        origin=ORIGIN, issued_at=timestamp_of(system_time()), reference="i", admit_merchant=ADMIT
    )
    instructed = sign_envelope(instruction.SerializeToString(), instruction_contract.PAYLOAD_TYPE, [key])
    with Gateway(engine, Signer(ORIGIN, key.seed), "127.0.0.1:0") as gateway, untouched(engine):
        with grpc.insecure_channel(gateway.server.address) as channel:
            submit = merchant_gateway_pb2.SubmitRequest(envelopes=[presented])
            heard = refusal(lambda: MerchantGatewayStub(channel).Submit(submit, timeout=CALL_TIMEOUT_SECONDS))
            assert heard == Refusal(StatusCode.NOT_FOUND, "NOT_FOUND", "clearing", "", "0", False)
            instruct = operations_pb2.InstructRequest(envelope=instructed)
            heard = refusal(lambda: OperationsStub(channel).Instruct(instruct, timeout=CALL_TIMEOUT_SECONDS))
            assert heard == Refusal(UNAUTHENTICATED, "UNKNOWN_KEY", "clearing", "", "", False)
    engine.dispose()
