"""Whatever bytes come in: a rejection that names what is wrong, or a value within the contract's bounds."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from clearing.card_token import token_of_bytes
from clearing.contract import bounds
from clearing.contract.bounds import PAYLOAD_BYTES_MAX, TRANSACTIONS_MAX
from clearing.contract.entry import Entry, EntryError, decode_entry, timestamp_of
from clearing.contract.instruction import decode_instruction, decode_proposal, encode_offsets, encode_proposal
from clearing.contract.presentment import decode_presentment
from clearing.errors import ErrorReason, Rejection
from clearing.log.note import Signer
from clearing.model import (
    AdoptRules,
    AmendConstitution,
    Burn,
    Channel,
    Earn,
    ExpireLots,
    Instant,
    Instruction,
    OpenCard,
    Points,
    Presentment,
    ProposeSettlement,
    Reference,
    Refund,
    SetOffsets,
    SetTerms,
)
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, presentment_pb2
from tests.zones import offsets_of

MINUTE = Timestamp(seconds=1_767_700_020)
NOW = timestamp_of(Instant(1_767_700_000_000_000))
CARD = token_of_bytes(b"0123456789abcdef")
KEY = PrivateKey(bytes(range(32)))
REFERENCE = re.compile(r"[!-~]{1,64}")
MERCHANT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
TOKEN = re.compile(r"card_[0-7][0-9A-HJKMNP-TV-Z]{25}")


def transaction(**fields: object) -> presentment_pb2.Transaction:
    values: dict[str, object] = {
        "reference": "t-1", "card_token": CARD, "store": "bakery-1", "occurred_at": NOW, "channel": 1,
    }  # fmt: skip
    return presentment_pb2.Transaction(**(values | fields))  # type: ignore[arg-type]  # any of its fields


PRESENTMENT = presentment_pb2.Presentment(
    origin="clearing.example",
    merchant="bakery",
    presented_at=NOW,
    transactions=[
        transaction(open_card=presentment_pb2.OpenCard()),
        transaction(earn=presentment_pb2.Earn(points=1_000_000_000, purchase_amount_minor=10**12), unit="PTS"),
        transaction(burn=presentment_pb2.Burn(points=1)),
        transaction(refund=presentment_pb2.Refund(original_reference="t-0", points=5)),
    ],
)
REGISTRATION = instruction_pb2.RegisterKey(
    public_key=KEY.public_key, role=instruction_pb2.ROLE_OPERATOR, holder="operator-1", valid_from=NOW
)
PAYMENT = instruction_pb2.Payment(payer="bakery", payee="pool", amount_minor=10**18)
PROPOSAL = instruction_pb2.ProposeSettlement(
    window="2026-01",
    settlement_version=1,
    alliance_statement_digest=bytes(32),
    statements=3_000,
    statements_root=b"\1" * 32,
    payments=2_999,
    payments_root=b"\2" * 32,
    payments_minor=9 * 10**18,
)
ACTIONS: Sequence[dict[str, object]] = (
    {
        "create_alliance": instruction_pb2.CreateAlliance(
            unit="PTS",
            currency="EUR",
            currency_decimals=2,
            time_zone="Europe/Berlin",
            settlement_method=instruction_pb2.SETTLEMENT_METHOD_POOL,
            clock=instruction_pb2.CLOCK_SYSTEM,
            log_verifier=Signer("clearing.example", KEY.seed).vkey,
            operator_keys=[REGISTRATION],
            lot_lifetime_months=120,
            late_presentment_days=366,
            issuance_price="1000000",
            redemption_price="0.00000001",
            rules_version=1,
            notice_days=0,
            settlement_version=1,
            zone_offsets=encode_offsets(offsets_of("Europe/Berlin")),
        )
    },
    {"admit_merchant": instruction_pb2.AdmitMerchant(merchant="bakery", legal_name="B\u00e4ckerei Stra\u00df")},
    {"open_store": instruction_pb2.OpenStore(merchant="bakery", store="bakery-1")},
    {"register_key": REGISTRATION},
    {"revoke_key": instruction_pb2.RevokeKey(keyid=KEY.key_id, effective_at=NOW, compromised_since=NOW)},
    {"set_terms": instruction_pb2.SetTerms(effective_from="2026-02-01", issuance_price="0.02", redemption_price="0")},
    {"close_window": instruction_pb2.CloseWindow(window="2026-01")},
    {"propose_settlement": PROPOSAL},
    {"approve_settlement": instruction_pb2.ApproveSettlement(proposal=PROPOSAL)},
    {
        "record_payment": instruction_pb2.RecordPayment(
            window="2026-01",
            payment=PAYMENT,
            paid_on="2026-02-05",
            bank_reference="E2E-1",
            index=2_998,
            salt=b"\3" * 32,
            path=[bytes(32)] * 12,
        )
    },
    {"expire_lots": instruction_pb2.ExpireLots(card_tokens=[CARD])},
    {
        "set_offsets": instruction_pb2.SetOffsets(
            effective_from=MINUTE,
            changes=[instruction_pb2.OffsetChange(at=MINUTE, offset_minutes=-720)],
            known_until=Timestamp(seconds=MINUTE.seconds + 60),
        )
    },
    {"adopt_rules": instruction_pb2.AdoptRules(window="2026-02", rules_version=2, settlement_version=1)},
    {
        "amend_constitution": instruction_pb2.AmendConstitution(
            effective_from="2026-02-01", late_presentment_days=1, lot_lifetime_months=120, notice_days=0
        )
    },
)
INSTRUCTIONS = [
    instruction_pb2.Instruction(
        origin="clearing.example",
        issued_at=NOW,
        reference="i-1",
        log_id=b"" if "create_alliance" in action else bytes(16),
        expires_at=None if "create_alliance" in action else Timestamp(seconds=NOW.seconds + 86_400, nanos=NOW.nanos),
        **action,  # type: ignore[arg-type]
    )
    for action in ACTIONS
]


def require_within_bounds(presentment: Presentment) -> None:
    assert MERCHANT.fullmatch(presentment.merchant)
    assert 1 <= len(presentment.transactions) <= TRANSACTIONS_MAX
    for each in presentment.transactions:
        assert REFERENCE.fullmatch(each.reference)
        assert TOKEN.fullmatch(each.card)
        assert MERCHANT.fullmatch(each.store)
        assert isinstance(each.channel, Channel)
        assert len(each.content_digest) == 16
        match each.kind:
            case Earn(points=points, purchase_amount_minor=amount):
                assert 1 <= points <= 10**9
                assert amount is None or 0 <= amount <= 10**12
            case Burn(points=points):
                assert 1 <= points <= 10**9
            case Refund(original_reference=original, points=asked):
                assert REFERENCE.fullmatch(original)
                assert asked is None or 1 <= asked <= 10**9
            case OpenCard():
                pass


def require_plain_words(rejection: Rejection) -> None:
    assert rejection.message
    assert len(rejection.field or "") < 80


def require_rejection_or_bounds(payload: bytes) -> None:
    try:
        presentment = decode_presentment(payload)
    except Rejection as rejection:
        require_plain_words(rejection)
    else:
        require_within_bounds(presentment)


def require_rejection_or_instruction(payload: bytes) -> None:
    try:
        instruction = decode_instruction(payload)
    except Rejection as rejection:
        require_plain_words(rejection)
    else:
        assert isinstance(instruction, Instruction)
        assert REFERENCE.fullmatch(instruction.reference)
        match instruction.action:
            case SetTerms(effective_from=day, redemption_price=price):
                assert isinstance(day, datetime.date)
                assert Decimal(0) <= price <= Decimal(1_000_000)
            case ExpireLots(cards=cards):
                assert 1 <= len(set(cards)) == len(cards) <= 500
            case AmendConstitution(_, late_presentment_days, lot_lifetime_months, notice_days):
                changes = (late_presentment_days, lot_lifetime_months, notice_days)
                assert any(change is not None for change in changes)
                for change, least, most in zip(changes, (1, 1, 0), (366, 120, 366), strict=True):
                    assert change is None or least <= change <= most
            case SetOffsets(effective_from=start, changes=offsets):
                assert all(change.at >= start and -720 <= change.offset_minutes <= 840 for change in offsets)
                assert all(before.at < after.at for before, after in pairwise(offsets))
            case AdoptRules(_, rules_version, settlement_version):
                assert rules_version >= 1
                assert settlement_version >= 1
            case _:
                pass


@st.composite
def mutated(draw: st.DrawFn, payloads: Sequence[bytes]) -> bytes:
    """A valid payload, somewhere cut, overwritten, repeated, or with bytes put in."""
    payload = bytearray(draw(st.sampled_from(payloads)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(payload)))
        end = min(len(payload), start + draw(st.integers(0, 12)))
        piece = draw(st.one_of(st.binary(max_size=12), st.just(bytes(payload[start:end]) * 2)))
        payload[start:end] = piece
    return bytes(payload)


@given(st.binary(max_size=500))
def test_arbitrary_bytes_are_no_surprise(payload: bytes) -> None:
    require_rejection_or_bounds(payload)
    require_rejection_or_instruction(payload)
    with suppress(EntryError):
        assert isinstance(decode_entry(payload), Entry)


@given(mutated([PRESENTMENT.SerializeToString()]))
def test_a_mutated_presentment_is_rejected_or_within_bounds(payload: bytes) -> None:
    require_rejection_or_bounds(payload)


@given(mutated([instruction.SerializeToString() for instruction in INSTRUCTIONS]))
def test_a_mutated_instruction_is_rejected_or_within_bounds(payload: bytes) -> None:
    require_rejection_or_instruction(payload)


integers = st.one_of(
    st.sampled_from([0, 1, -1, 10**9, 10**9 + 1, 10**12, 10**12 + 1, 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
)


@given(points=integers, amount=integers, refunded=integers, reference=st.text(max_size=70), channel=st.integers(-9, 9))
def test_any_numbers_and_texts_are_rejected_or_within_bounds(
    points: int, amount: int, refunded: int, reference: str, channel: int
) -> None:
    earn = presentment_pb2.Earn(points=points, purchase_amount_minor=amount)
    refund = presentment_pb2.Refund(original_reference=reference, points=refunded)
    for fields in ({"earn": earn}, {"refund": refund}, {"burn": presentment_pb2.Burn(points=points)}):
        odd = transaction(**fields)
        odd.reference = reference
        odd.channel = channel  # type: ignore[assignment]  # numbers without a name travel too
        presentment = presentment_pb2.Presentment(merchant="bakery", presented_at=NOW, transactions=[odd])
        require_rejection_or_bounds(presentment.SerializeToString())


@given(st.text(max_size=40))
def test_any_time_zone_is_well_formed_or_rejected(name: str) -> None:
    founding = instruction_pb2.CreateAlliance()
    founding.CopyFrom(INSTRUCTIONS[0].create_alliance)
    founding.time_zone = name
    require_rejection_or_instruction(
        instruction_pb2.Instruction(
            origin="clearing.example", issued_at=NOW, reference="i", create_alliance=founding
        ).SerializeToString()
    )


@pytest.mark.parametrize(
    "name",
    ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Africa/Dar_es_Salaam"],
)
def test_an_iana_time_zone_is_taken(name: str) -> None:
    assert bounds.time_zone(name, "time_zone") == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "../../etc/passwd",
            "/etc/localtime",
            "Europe",
            "a\0b",
        ),
        *("posixrules", "localtime", "europe/berlin", "posix/Europe/Berlin", "Europe/Berlin\n", "A/" + "X" * 5_000),
    ],
)
def test_what_is_no_time_zone_is_named_so(name: str) -> None:
    founding = instruction_pb2.CreateAlliance()
    founding.CopyFrom(INSTRUCTIONS[0].create_alliance)
    founding.time_zone = name
    message = instruction_pb2.Instruction(
        origin="clearing.example", issued_at=NOW, reference="i", create_alliance=founding
    )
    with pytest.raises(Rejection) as raised:
        decode_instruction(message.SerializeToString())
    assert raised.value.field == "create_alliance.time_zone"


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=[str(each.WhichOneof("action")) for each in INSTRUCTIONS])
def test_every_action_is_decoded(instruction: instruction_pb2.Instruction) -> None:
    decoded = decode_instruction(instruction.SerializeToString())
    assert (decoded.reference, decoded.origin) == ("i-1", "clearing.example")
    assert type(decoded.action).__name__ == "".join(
        word.title() for word in str(instruction.WhichOneof("action")).split("_")
    )


def test_the_same_instruction_signed_at_another_time_has_the_same_content() -> None:
    first, second = instruction_pb2.Instruction(), instruction_pb2.Instruction()
    first.CopyFrom(INSTRUCTIONS[1])
    second.CopyFrom(first)
    second.issued_at.seconds += 1
    second.expires_at.seconds += 5
    other = instruction_pb2.Instruction()
    other.CopyFrom(first)
    other.admit_merchant.legal_name = "Other"
    digests = [decode_instruction(each.SerializeToString()).content_digest for each in (first, second, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_transactions_content_is_its_fields_however_they_were_written() -> None:
    first = PRESENTMENT.SerializeToString()
    # The merchant twice and in another place: the same presentment, in other bytes.
    second = b"\x12\x06grocer" + first
    assert decode_presentment(first) == decode_presentment(second)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", ErrorReason.EMPTY_PRESENTMENT),
        (b"\xff", ErrorReason.MALFORMED_PAYLOAD),
        (b"\x12\x02\xff\xfe", ErrorReason.MALFORMED_PAYLOAD),
        (b"\xfa\x07\x01x", ErrorReason.UNKNOWN_FIELDS),
        (PRESENTMENT.SerializeToString()[:-1], ErrorReason.MALFORMED_PAYLOAD),
        (bytes(PAYLOAD_BYTES_MAX + 1), ErrorReason.PAYLOAD_TOO_LARGE),
    ],
)
def test_a_payload_that_cannot_be_read_says_why(payload: bytes, reason: ErrorReason) -> None:
    with pytest.raises(Rejection) as raised:
        decode_presentment(payload)
    assert raised.value.reason is reason


def test_an_unknown_field_deep_inside_is_found() -> None:
    timestamp = NOW.SerializeToString() + b"\xfa\x07\x01x"
    odd = presentment_pb2.Presentment.FromString(PRESENTMENT.SerializeToString())
    odd.transactions[2].occurred_at.MergeFromString(timestamp)
    with pytest.raises(Rejection) as raised:
        decode_presentment(odd.SerializeToString())
    assert raised.value.reason is ErrorReason.UNKNOWN_FIELDS


def test_a_proposal_comes_back_as_it_was_encoded() -> None:
    decoded = decode_proposal(PROPOSAL)
    assert isinstance(decoded, ProposeSettlement)
    assert (decoded.payments, decoded.payments_minor) == (2_999, 9 * 10**18)
    assert encode_proposal(decoded) == PROPOSAL


def test_types_are_as_the_model_has_them() -> None:
    decoded = decode_presentment(PRESENTMENT.SerializeToString())
    refund = decoded.transactions[3].kind
    assert refund == Refund(Reference("t-0"), Points(5))
