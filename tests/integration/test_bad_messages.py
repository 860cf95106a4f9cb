"""Bad envelopes and calls over gRPC: each kind hears its own reason, and the ledger stays as it was."""

from __future__ import annotations

from typing import Literal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clearing.clock import system_time
from clearing.contract import presentment as presentment_contract
from clearing.contract.bounds import PAYLOAD_BYTES_MAX
from clearing.contract.entry import timestamp_of
from clearing.model import Instant
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from tests.integration.alliance import CALL_TIMEOUT_SECONDS
from tests.integration.bad_scene import (
    DENIED,
    INVALID,
    MINUTE,
    UNAUTHENTICATED,
    UNKNOWN_FIELD,
    EnvelopeOf,
    Says,
    Scene,
    Table,
    each_case,
    with_payload,
    with_signature,
)
from tests.integration.observation import Refusal, refusal, untouched

POINTS_MAX = 1_000_000_000
CLOSE = instruction_pb2.CloseWindow(window="2026-01")


def in_six_minutes() -> Timestamp:
    return timestamp_of(Instant(system_time() + 6 * MINUTE))


SIGNERS: Table[EnvelopeOf] = {
    Says(UNAUTHENTICATED, "BAD_SIGNATURE", "signatures"): {
        "no signature of the key": lambda s: with_signature(s.of(s.earn()), bytes(64)),
        "short": lambda s: with_signature(s.of(s.earn()), b"x"),
        "payload altered": lambda s: with_payload(s.of(s.earn(1)), s.presented(s.earn(2))),
        "another's keyid": lambda s: with_signature(s.earn_by(), s.earn_by().signatures[0].sig, s.cinema.key_id),
    },
    Says(UNAUTHENTICATED, "UNKNOWN_KEY", "signatures"): {
        "alone": lambda s: s.earn_by(s.stranger),
        "beside a good one": lambda s: s.earn_by(s.bakery, s.stranger),
    },
    Says(UNAUTHENTICATED, "KEY_EXPIRED"): {"alone": lambda s: s.earn_by(s.expired)},
    Says(UNAUTHENTICATED, "KEY_NOT_YET_VALID"): {"alone": lambda s: s.earn_by(s.not_yet_valid)},
    Says(UNAUTHENTICATED, "KEY_REVOKED"): {
        "alone": lambda s: s.earn_by(s.revoked),
        "beside a good one": lambda s: s.earn_by(s.bakery, s.revoked),
    },
    Says(DENIED, "MERCHANT_MISMATCH", "merchant"): {
        "another merchant's key": lambda s: s.earn_by(s.cinema),
        "beside a good one": lambda s: s.earn_by(s.bakery, s.cinema),
        "unknown merchant": lambda s: s.of(s.earn(), merchant="florist"),
    },
    Says(DENIED, "ROLE_NOT_ALLOWED"): {
        "operator's key": lambda s: s.earn_by(s.operator),
        "finance's key": lambda s: s.earn_by(s.finance),
    },
    Says(DENIED, "WRONG_ORIGIN", "origin"): {
        "another alliance": lambda s: s.of(s.earn(), origin="clearing.example/other"),
        "none": lambda s: s.of(s.earn(), origin=""),
        # Quoted in full, it would not fit into gRPC's trailers.
        "endless": lambda s: s.of(s.earn(), origin="\N{EURO SIGN}" * 13_000),
    },
}

SHAPES: Table[EnvelopeOf] = {
    Says(INVALID, "MALFORMED_ENVELOPE", "payload"): {"none": lambda s: s.signed(b"")},
    Says(INVALID, "MALFORMED_ENVELOPE", "signatures"): {
        "none": lambda s: Envelope(payload=b"x", payload_type=presentment_contract.PAYLOAD_TYPE),
        "nine": lambda s: s.signed(b"x", *(PrivateKey.generate() for _ in range(9))),
        "one key twice": lambda s: s.earn_by(s.bakery, s.bakery),
    },
    Says(INVALID, "PAYLOAD_TYPE_MISMATCH", "payload_type"): {
        "instruction": lambda s: s.instructed(s.bakery, close_window=CLOSE),
        "none": lambda s: Envelope(payload=b"x"),
    },
    Says(INVALID, "UNKNOWN_FIELDS"): {
        "of the envelope": lambda s: Envelope.FromString(s.earn_by().SerializeToString() + UNKNOWN_FIELD),
        "of the presentment": lambda s: s.signed(s.presented(s.earn()) + UNKNOWN_FIELD),
    },
    Says(INVALID, "MALFORMED_PAYLOAD"): {
        "instruction under this type": lambda s: s.signed(s.alliance.instruction(close_window=CLOSE)),
        "truncated": lambda s: s.signed(s.presented(s.earn())[:-3]),
        "random": lambda s: s.signed(b"\xff" * 64),
    },
    Says(INVALID, "PAYLOAD_TOO_LARGE", "payload"): {"by a byte": lambda s: s.signed(bytes(PAYLOAD_BYTES_MAX + 1))},
    Says(INVALID, "EMPTY_PRESENTMENT", "transactions"): {"": lambda s: s.of()},
    Says(INVALID, "INVALID_FIELD", "transactions"): {
        "501": lambda s: s.of(*(presentment_pb2.Transaction(reference=f"n-{n}") for n in range(501)))
    },
    Says(INVALID, "CLOCK_SKEW", "presented_at"): {
        "in the future": lambda s: s.of(s.earn(), presented_at=in_six_minutes())
    },
    Says(INVALID, "INVALID_FIELD", "presented_at"): {
        "none": lambda s: s.of(s.earn(), presented_at=None),
        "beyond the calendar": lambda s: s.of(s.earn(), presented_at=Timestamp(seconds=2**62)),
    },
    Says(INVALID, "INVALID_FIELD", "merchant"): {
        "capitals": lambda s: s.of(s.earn(), merchant="BAKERY"),
        "the pool": lambda s: s.of(s.earn(), merchant="pool"),
    },
}


def without(name: Literal["reference"], transaction: presentment_pb2.Transaction) -> presentment_pb2.Transaction:
    transaction.ClearField(name)
    return transaction


def field(name: str) -> Says:
    return Says(INVALID, "INVALID_FIELD", f"transactions[0].{name}")


TRANSACTIONS: Table[EnvelopeOf] = {
    field("reference"): {
        "none": lambda s: s.of(without("reference", s.earn())),
        "with a blank": lambda s: s.of(s.earn(reference="a b")),
        "of 65 characters": lambda s: s.of(s.earn(reference="r" * 65)),
        "not ASCII": lambda s: s.of(s.earn(reference="caf\u00e9")),
    },
    field("refund.original_reference"): {"none": lambda s: s.of(s.odd(refund=presentment_pb2.Refund()))},
    field("store"): {"none": lambda s: s.of(s.earn(store=""))},
    field("occurred_at"): {"none": lambda s: s.of(s.earn(occurred_at=None))},
    field("channel"): {
        "none": lambda s: s.of(s.earn(channel=0)),
        "unknown": lambda s: s.of(s.earn(channel=99)),
    },
    field("unit"): {"small letters": lambda s: s.of(s.earn(unit="pts"))},
    field("kind"): {"none": lambda s: s.of(s.odd())},
    field("earn.purchase_amount_minor"): {
        "negative": lambda s: s.of(s.odd(earn=presentment_pb2.Earn(points=1, purchase_amount_minor=-1))),
        "huge": lambda s: s.of(s.odd(earn=presentment_pb2.Earn(points=1, purchase_amount_minor=10**12 + 1))),
    },
}


def require_refused(scene: Scene, bad: Envelope, says: Says) -> None:
    """Behind a good envelope in the same call, which is not put to the writer either."""
    with untouched(scene.alliance.engine):
        heard = scene.submit(scene.of(scene.earn()), bad)
    assert heard == Refusal(says.code, says.reason, "clearing", says.field, "1", False)


@each_case(SIGNERS)
def test_wrong_signers_are_named_and_the_call_leaves_the_ledger_untouched(
    scene: Scene, says: Says, build: EnvelopeOf
) -> None:
    require_refused(scene, build(scene), says)


@each_case(SHAPES)
def test_a_wrong_shape_is_named_and_the_call_leaves_the_ledger_untouched(
    scene: Scene, says: Says, build: EnvelopeOf
) -> None:
    require_refused(scene, build(scene), says)


@each_case(TRANSACTIONS)
def test_a_wrong_field_is_named_and_the_call_leaves_the_ledger_untouched(
    scene: Scene, says: Says, build: EnvelopeOf
) -> None:
    require_refused(scene, build(scene), says)


@pytest.mark.parametrize("points", [0, -1, POINTS_MAX + 1, 2**63 - 1, -(2**63)])
def test_points_out_of_range_are_refused_whatever_moves_them(scene: Scene, points: int) -> None:
    for kind, moved in (
        ("earn", scene.odd(earn=presentment_pb2.Earn(points=points))),
        ("burn", scene.odd(burn=presentment_pb2.Burn(points=points))),
        ("refund", scene.odd(refund=presentment_pb2.Refund(original_reference="r", points=points))),
    ):
        says = Says(INVALID, "POINTS_OUT_OF_RANGE", f"transactions[1].{kind}.points")
        require_refused(scene, scene.of(scene.earn(), moved), says)


@pytest.mark.parametrize(
    "token",
    [
        *("", "+49 170 1234567", "4111111111111111", "a@b.example", "card_" + "8" * 26, "card_" + "0" * 25),
        *("card_" + "I" * 26, "card_" + "a" * 26, "card_" + "0" * 26 + "\n"),
    ],
)
def test_what_is_no_card_token_is_refused(scene: Scene, token: str) -> None:
    says = Says(INVALID, "MALFORMED_CARD_TOKEN", "transactions[0].card_token")
    require_refused(scene, scene.of(scene.earn(card_token=token)), says)


# ---- calls ----


def test_a_call_without_envelopes_or_with_501_or_beyond_two_mebibytes_is_refused(scene: Scene) -> None:
    expected = Refusal(INVALID, "CALL_SIZE", "clearing", "envelopes", "", False)
    small, large = Envelope(payload=b"x"), Envelope(payload=bytes(PAYLOAD_BYTES_MAX))
    with untouched(scene.alliance.engine):
        for envelopes in ([], [small] * 501, [large] * 52, [large] * 120):
            assert scene.submit(*envelopes) == expected


BAD_AMONG_MANY: dict[str, tuple[str, EnvelopeOf]] = {
    "no signature of the key": ("BAD_SIGNATURE", lambda s: with_signature(s.of(s.earn()), bytes(64))),
    "payload altered": ("BAD_SIGNATURE", lambda s: with_payload(s.of(s.earn(1)), s.presented(s.earn(2)))),
    "another's keyid": (
        "BAD_SIGNATURE",
        lambda s: with_signature(s.earn_by(), s.earn_by().signatures[0].sig, s.cinema.key_id),
    ),
    "a stranger's": ("UNKNOWN_KEY", lambda s: s.earn_by(s.stranger)),
    "empty": ("PAYLOAD_TYPE_MISMATCH", lambda _: Envelope()),
}


@pytest.mark.parametrize("place", [0, 1, 6, 19])
@pytest.mark.parametrize("kind", BAD_AMONG_MANY)
def test_of_many_envelopes_the_first_bad_one_is_named_wherever_it_stands(scene: Scene, kind: str, place: int) -> None:
    """From some number on a call's signatures are checked together, which must not show."""
    reason, build = BAD_AMONG_MANY[kind]
    envelopes = [scene.earn_by() for _ in range(20)]
    envelopes[place] = build(scene)
    envelopes.append(build(scene))
    with untouched(scene.alliance.engine):
        heard = scene.submit(*envelopes)
    assert (heard.reason, heard.envelope_index) == (reason, str(place))


@pytest.mark.parametrize("request_bytes", [b"\xff" * 40, b"\n\x7fcut short", b"\n\x03\x12\x01\xff"])
@pytest.mark.parametrize("method", ["MerchantGateway/Submit", "Operations/Instruct", "Audit/ListEntries"])
def test_bytes_that_are_no_request_are_the_callers_fault(scene: Scene, method: str, request_bytes: bytes) -> None:
    name = f"/clearing.v1.{method}"
    bare = {"request_serializer": bytes, "response_deserializer": bytes}
    with untouched(scene.alliance.engine):
        if method == "Audit/ListEntries":
            stream = scene.alliance.channel.unary_stream(name, **bare)
            heard = refusal(lambda: list(stream(b"\xff" + request_bytes, timeout=CALL_TIMEOUT_SECONDS)))
        else:
            unary = scene.alliance.channel.unary_unary(name, **bare)
            heard = refusal(lambda: unary(request_bytes, timeout=CALL_TIMEOUT_SECONDS))
    assert heard == Refusal(INVALID, "MALFORMED_PAYLOAD", "clearing", "", "", False)


def test_receipts_that_would_not_fit_into_an_answer_are_asked_for_in_smaller_calls(scene: Scene) -> None:
    card = scene.alliance.open_card("bakery")
    transactions = [scene.earn(card_token=card, reference=f"{n:0>64}") for n in range(300)]
    scene.alliance.submit(scene.of(*transactions))
    singles = [scene.of(transaction) for transaction in transactions]
    with untouched(scene.alliance.engine):
        assert scene.submit(*singles) == Refusal(INVALID, "CALL_SIZE", "clearing", "envelopes", "", False)
        assert all(receipt.replayed for receipt in scene.alliance.submit(*singles[:50]))
