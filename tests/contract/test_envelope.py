"""What is signed, byte by byte, and how large an entry can become."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from clearing.card_token import derived_token, random_token, token_of_bytes
from clearing.contract import bounds
from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.contract.bounds import PAYLOAD_BYTES_MAX, SIGNATURES_MAX, TRANSACTIONS_MAX
from clearing.contract.entry import ENTRY_BYTES_MAX, encode_instruction_entry, encode_presentment_entry, timestamp_of
from clearing.contract.instruction import DECODERS
from clearing.contract.presentment import decode_presentment
from clearing.deciding.authentication import authenticate_founding
from clearing.errors import ErrorReason, Rejection
from clearing.model import (
    POINTS_PER_CARD_MAX,
    POINTS_PER_TRANSACTION_MAX,
    EntryIndex,
    EntryLinks,
    Instant,
    InstructionResult,
    Outcome,
    Points,
    TransactionKind,
    TransactionResult,
    WindowRange,
)
from clearing.signing.envelope import check_shape, pre_authentication_encoding, sign_envelope, signers_among
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope, Signature

LAST_INSTANT = Instant(4_102_444_799_999_999)
TYPE = presentment_contract.PAYLOAD_TYPE


def reason_of(envelope: Envelope, payload_type: str = TYPE) -> ErrorReason:
    with pytest.raises(Rejection) as raised:
        check_shape(envelope, payload_type)
    return raised.value.reason


def test_the_signed_bytes_are_those_of_the_dsse_specifications_example() -> None:
    signed = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_the_signed_bytes_count_bytes_not_characters() -> None:
    assert pre_authentication_encoding("\N{EURO SIGN}", b"") == b"DSSEv1 3 \xe2\x82\xac 0 "


@given(st.text(), st.binary(), st.text(), st.binary())
def test_no_two_payloads_have_the_same_signed_bytes(type_1: str, body_1: bytes, type_2: str, body_2: bytes) -> None:
    same = pre_authentication_encoding(type_1, body_1) == pre_authentication_encoding(type_2, body_2)
    assert same == ((type_1, body_1) == (type_2, body_2))


def test_a_signature_counts_for_exactly_its_payload_and_type() -> None:
    key = PrivateKey.generate()
    envelope = sign_envelope(b"payload", TYPE, [key])
    assert signers_among(envelope, {key.key_id: key.public_key}.get) == ((key.key_id,), ())
    for changed in (
        Envelope(payload=b"payloae", payload_type=TYPE, signatures=envelope.signatures),
        Envelope(payload=b"payload", payload_type=TYPE + " ", signatures=envelope.signatures),
    ):
        with pytest.raises(Rejection) as raised:
            signers_among(changed, {key.key_id: key.public_key}.get)
        assert raised.value.reason is ErrorReason.BAD_SIGNATURE


@pytest.mark.parametrize("low_order_key", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_a_key_of_low_order_signs_nothing(low_order_key: bytes) -> None:
    signature = Signature(sig=low_order_key + bytes(32), keyid="low")
    envelope = Envelope(payload=b"payload", payload_type=TYPE, signatures=[signature])
    with pytest.raises(Rejection) as raised:
        signers_among(envelope, lambda _: low_order_key)
    assert raised.value.reason is ErrorReason.BAD_SIGNATURE


@pytest.mark.parametrize("unknown_bytes", [1, 20_000])
def test_unsigned_fields_of_an_envelope_do_not_reach_the_log(unknown_bytes: int) -> None:
    unknown = Envelope(payload_type="x" * unknown_bytes).SerializeToString().replace(b"\x12", b"\x7a", 1)
    envelope = sign_envelope(b"payload", TYPE, [PrivateKey.generate()]).SerializeToString()
    assert reason_of(Envelope.FromString(envelope + unknown)) is ErrorReason.UNKNOWN_FIELDS
    in_signature = Signature.FromString(Signature(sig=bytes(64), keyid="k").SerializeToString() + unknown)
    nested = Envelope(payload=b"payload", payload_type=TYPE, signatures=[in_signature])
    assert reason_of(nested) is ErrorReason.UNKNOWN_FIELDS


def largest_envelope(payload_type: str) -> Envelope:
    """As many bytes as ``check_shape`` and known keys let pass."""
    keys = [PrivateKey.generate() for _ in range(SIGNATURES_MAX)]
    return sign_envelope(bytes(PAYLOAD_BYTES_MAX), payload_type, keys)


ROOM_BYTES = 8_192
"""What is to stay free of an entry: results grow (docs/protocol.md)."""
LAST_LINKS = EntryLinks(EntryIndex(2**64 - 1), EntryIndex(2**64 - 1))


def test_the_largest_entry_of_a_presentment_fits_into_a_bundle() -> None:
    """With 500 repeated transactions of maximal values, in a log of up to 2^35 entries: 34 thousand million."""
    envelope = largest_envelope(TYPE)
    check_shape(envelope, TYPE)
    result = TransactionResult(
        max(Outcome),
        Points(POINTS_PER_TRANSACTION_MAX),
        Points(POINTS_PER_CARD_MAX),
        Points(POINTS_PER_CARD_MAX),
        EntryIndex(2**35 - 1),
    )
    leaf = encode_presentment_entry(envelope, LAST_INSTANT, [result] * TRANSACTIONS_MAX, LAST_LINKS)
    assert len(leaf) <= ENTRY_BYTES_MAX - ROOM_BYTES


def test_the_largest_entry_of_an_instruction_fits_into_a_bundle() -> None:
    envelope = largest_envelope(instruction_contract.PAYLOAD_TYPE)
    check_shape(envelope, instruction_contract.PAYLOAD_TYPE)
    last = EntryIndex(2**63 - 1)
    result = InstructionResult(max(Outcome), WindowRange(last, last), Points(2**63 - 1))
    assert len(encode_instruction_entry(envelope, LAST_INSTANT, result, LAST_LINKS)) <= ENTRY_BYTES_MAX - ROOM_BYTES


LIST_BOUNDS = {
    "operator_keys": bounds.OPERATOR_KEYS_MAX,
    "card_tokens": bounds.EXPIRE_CARDS_MAX,
    "changes": bounds.OFFSET_CHANGES_MAX,
    "path": bounds.SETTLEMENT_PATH_MAX,
}
"""Of each list in an action, how many it holds at most."""
LONGEST_TEXT = "x" * 512
"""Longer than any text that the contract takes."""


def largest(message: Message) -> Message:
    """The message with every field set, its texts and lists longer than their bounds or as long."""
    for field in message.DESCRIPTOR.fields:
        is_list = field.is_repeated
        assert not is_list or field.name in LIST_BOUNDS, f"say in LIST_BOUNDS how many {field.full_name} may be"
        if field.message_type is not None:
            for _ in range(LIST_BOUNDS[field.name] if is_list else 1):
                largest(getattr(message, field.name).add() if is_list else getattr(message, field.name))
        elif is_list:
            item = bytes(32) if field.type == FieldDescriptor.TYPE_BYTES else random_token()
            getattr(message, field.name).extend([item] * LIST_BOUNDS[field.name])
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, LONGEST_TEXT)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            setattr(message, field.name, bytes(64))
        elif field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64):
            setattr(message, field.name, 2**63 - 1)
        elif field.type == FieldDescriptor.TYPE_BOOL:
            setattr(message, field.name, True)
        else:
            setattr(message, field.name, 2**31 - 1)
    return message


@pytest.mark.parametrize("action", sorted(DECODERS))
def test_every_action_at_its_bounds_fits_into_a_payload(action: str) -> None:
    """So that none is within its own bounds and yet refused as PAYLOAD_TOO_LARGE."""
    instruction = instruction_pb2.Instruction(
        origin="o" * 512,
        reference="r" * 64,
        log_id=bytes(16),
        merchant="m" * 32,
        issued_at=timestamp_of(LAST_INSTANT),
        expires_at=timestamp_of(LAST_INSTANT),
    )
    largest(getattr(instruction, action)).SetInParent()
    assert instruction.WhichOneof("action") == action
    assert instruction.ByteSize() <= PAYLOAD_BYTES_MAX


@pytest.mark.parametrize("kind", TransactionKind)
def test_the_most_transactions_of_a_kind_that_a_payload_holds_fit_with_their_results(kind: TransactionKind) -> None:
    """As short as they can be, so that there are as many as can be; a presentment of 500 at most."""
    details: dict[TransactionKind, dict[str, Any]] = {
        TransactionKind.OPEN_CARD: {"open_card": presentment_pb2.OpenCard()},
        TransactionKind.EARN: {"earn": presentment_pb2.Earn(points=1)},
        TransactionKind.BURN: {"burn": presentment_pb2.Burn(points=1)},
        TransactionKind.REFUND: {"refund": presentment_pb2.Refund(original_reference="r")},
    }
    transaction = presentment_pb2.Transaction(
        reference="r",
        card_token="card_" + "0" * 26,
        store="s",
        occurred_at=Timestamp(seconds=1),
        channel=presentment_pb2.CHANNEL_TILL,
        **details[kind],
    )
    presentment = presentment_pb2.Presentment(
        origin="o", merchant="m", presented_at=Timestamp(seconds=1), log_id=bytes(16)
    )
    while len(presentment.transactions) < TRANSACTIONS_MAX and presentment.ByteSize() + 80 < PAYLOAD_BYTES_MAX:
        presentment.transactions.append(transaction)
    decoded = decode_presentment(presentment.SerializeToString())
    longest = TransactionResult(
        max(Outcome),
        Points(POINTS_PER_TRANSACTION_MAX),
        Points(POINTS_PER_CARD_MAX),
        Points(POINTS_PER_CARD_MAX),
        EntryIndex(2**35 - 1),
    )
    envelope = sign_envelope(
        presentment.SerializeToString(), TYPE, [PrivateKey.generate() for _ in range(SIGNATURES_MAX)]
    )
    results = [longest] * len(decoded.transactions)
    assert len(encode_presentment_entry(envelope, LAST_INSTANT, results, LAST_LINKS)) <= ENTRY_BYTES_MAX - ROOM_BYTES


def test_a_keyid_or_payload_type_of_any_length_comes_no_further_than_the_look_up() -> None:
    """Only signatures of 64 bytes by registered keys, whose keyids are ours, reach an entry."""
    key = PrivateKey.generate()
    long_keyid = Envelope(payload=b"p", payload_type=TYPE, signatures=[Signature(sig=bytes(64), keyid="k" * 60_000)])
    known, unknown = signers_among(long_keyid, {key.key_id: key.public_key}.get)
    assert (known, len(unknown)) == ((), 1)
    with pytest.raises(Rejection) as raised:
        signers_among(
            Envelope(payload=b"p", payload_type=TYPE, signatures=[Signature(sig=bytes(60_000), keyid=key.key_id)]),
            {key.key_id: key.public_key}.get,
        )
    assert raised.value.reason is ErrorReason.BAD_SIGNATURE
    assert reason_of(Envelope(payload=b"p", payload_type="t" * 60_000)) is ErrorReason.PAYLOAD_TYPE_MISMATCH


@given(st.binary(max_size=300))
def test_any_envelope_is_a_founding_or_a_rejection(payload: bytes) -> None:
    envelope = sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [PrivateKey(bytes(32))])
    with pytest.raises(Rejection):
        authenticate_founding(envelope)


# ---- card tokens and times ----


@given(st.binary(min_size=16, max_size=16))
def test_every_128_bits_make_a_token_that_the_contract_takes(random_bits: bytes) -> None:
    assert bounds.card_token(token_of_bytes(random_bits), "card") == token_of_bytes(random_bits)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_different_bits_make_different_tokens(first: bytes, second: bytes) -> None:
    assert (token_of_bytes(first) == token_of_bytes(second)) == (first == second)


def test_a_token_is_crockford_base32_with_the_most_significant_bits_first() -> None:
    assert token_of_bytes(bytes(16)) == "card_" + "0" * 26
    assert token_of_bytes(bytes(15) + b"\x01") == "card_" + "0" * 25 + "1"
    assert token_of_bytes(b"\xff" * 16) == "card_7" + "Z" * 25
    with pytest.raises(ValueError, match="128 bits"):
        token_of_bytes(bytes(15))


def test_a_derived_token_depends_on_secret_and_number_and_a_random_one_on_neither() -> None:
    derived = {derived_token(secret, customer) for secret in (b"a", b"b") for customer in ("1", "2")}
    assert len(derived) == 4
    assert derived_token(b"a", "1") in derived
    assert random_token() != random_token()


@pytest.mark.parametrize(
    "text",
    ["", "card_", "+491701234567", "4111 1111 1111 1111", "card_8" + "0" * 25, "card_" + "0" * 27, "CARD_" + "0" * 26]
    + ["card_" + "0" * 25 + letter for letter in ("I", "L", "O", "U", "a", "\n", "\N{FULLWIDTH DIGIT ONE}")],
)
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Rejection) as raised:
        bounds.card_token(text, "transactions[0].card_token")
    assert (raised.value.reason, raised.value.field) == (
        ErrorReason.MALFORMED_CARD_TOKEN,
        "transactions[0].card_token",
    )
    assert len(text) < 8 or text not in raised.value.message


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_a_time_is_within_the_calendar_or_refused(seconds: int, nanos: int) -> None:
    timestamp = Timestamp(seconds=seconds, nanos=nanos)
    if 0 < seconds <= LAST_INSTANT // 1_000_000 and 0 <= nanos < 1_000_000_000:
        instant = bounds.instant(timestamp, "at")
        assert 0 < instant <= LAST_INSTANT
        assert timestamp_of(instant) == Timestamp(seconds=seconds, nanos=nanos - nanos % 1_000)
    else:
        with pytest.raises(Rejection) as raised:
            bounds.instant(timestamp, "at")
        assert raised.value.field == "at"
