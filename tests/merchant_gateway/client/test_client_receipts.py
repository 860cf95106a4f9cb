"""Receipts: what a client accepts as proof, and every way in which an answer may prove nothing."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from clearing.calendar import instant_of
from clearing.card_token import token_of_bytes
from clearing.contract.entry import encode_instruction_entry
from clearing.contract.instruction import PAYLOAD_TYPE as INSTRUCTION_TYPE
from clearing.contract.receipt import Receipt
from clearing.log.note import Signer
from clearing.model import EntryIndex, EntryLinks, InstructionResult, MerchantId, Outcome, Reference
from clearing.signing.envelope import sign_envelope
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client.merchant_client import sign_presentment
from merchant_gateway.client.receipt_check import ReceiptError
from merchant_gateway.client.transaction_receipt import TransactionReceipt, check_recorded, check_submitted
from merchant_gateway.client.transactions import burn, earn, open_card
from tests.merchant_gateway.client.rules_alliance import (
    IDENTITY,
    LOG_KEY,
    ORIGIN,
    RulesAlliance,
    directory_of,
    key_of,
    receipt_of_leaf,
)

BAKERY = MerchantId("bakery")
CINEMA = MerchantId("cinema")
CARD = token_of_bytes(bytes(16))
NOON = datetime.datetime(2017, 1, 2, 12, tzinfo=datetime.UTC)

OPEN = open_card("o1", CARD, "bakery-1", NOON)
EARN = earn("e1", CARD, "bakery-1", 100, NOON)
BURN = burn("b1", CARD, "bakery-1", 30, NOON)

LINKS = EntryLinks(EntryIndex(0), EntryIndex(0))


@pytest.fixture
def alliance() -> RulesAlliance:
    return RulesAlliance(directory_of({"bakery-1": "bakery", "cinema-1": "cinema"}))


def presented(*transactions: Transaction, minutes: int = 0, merchant: MerchantId = BAKERY) -> Envelope:
    at = instant_of(NOON + datetime.timedelta(minutes=minutes))
    return sign_presentment(IDENTITY, merchant, key_of(merchant), transactions, presented_at=at)


def check(envelope: Envelope, receipt: Receipt) -> list[TransactionReceipt]:
    return check_submitted(envelope, receipt, LOG_KEY.verifier)[1]


def test_each_transaction_hears_its_own_result(alliance: RulesAlliance) -> None:
    envelope = presented(OPEN, EARN, BURN, burn("b2", CARD, "bakery-1", 71, NOON))
    (receipt,) = alliance.answer([envelope])
    opened, earned, burned, refused = check(envelope, receipt)
    assert (opened.outcome, opened.points_available) == (Outcome.ACCEPTED, 0)
    assert (earned.reference, earned.points, earned.points_available) == ("e1", 100, 100)
    assert (burned.points, burned.points_available, burned.position) == (30, 70, 2)
    assert (refused.is_accepted, refused.outcome) == (False, Outcome.INSUFFICIENT_POINTS)
    assert {each.entry_index for each in (opened, earned, burned, refused)} == {1}
    assert not any(each.replayed for each in (opened, earned, burned, refused))


def test_what_was_presented_before_is_found_in_its_first_entry_whatever_stands_around_it(
    alliance: RulesAlliance,
) -> None:
    alliance.submit([presented(OPEN, EARN, BURN)])
    again = presented(BURN, EARN, minutes=5)
    (receipt,) = alliance.answer([again])
    burned, earned = check(again, receipt)
    assert receipt.replayed
    assert (burned.replayed, burned.entry_index, burned.position, burned.points_available) == (True, 1, 2, 70)
    assert (earned.replayed, earned.entry_index, earned.position, earned.points_available) == (True, 1, 1, 100)


def test_a_presentment_of_old_and_new_tells_them_apart(alliance: RulesAlliance) -> None:
    alliance.submit([presented(OPEN, EARN)])
    envelope = presented(EARN, BURN, minutes=5)
    (receipt,) = alliance.answer([envelope])
    earned, burned = check(envelope, receipt)
    assert (earned.replayed, earned.entry_index, earned.points_available) == (True, 1, 100)
    assert (burned.replayed, burned.entry_index, burned.points_available) == (False, 2, 70)
    assert earned.receipt.index == 2


def test_a_changed_entry_proves_nothing(alliance: RulesAlliance) -> None:
    envelope = presented(OPEN, EARN)
    (receipt,) = alliance.answer([envelope])
    for place in range(0, len(receipt.leaf), 7):
        changed = bytearray(receipt.leaf)
        changed[place] ^= 1
        with pytest.raises(ReceiptError, match="does not hold"):
            check(envelope, dataclasses.replace(receipt, leaf=bytes(changed)))


def test_another_place_or_path_proves_nothing(alliance: RulesAlliance) -> None:
    alliance.submit([presented(OPEN)])
    envelope = presented(EARN, minutes=1)
    (receipt,) = alliance.answer([envelope])
    for wrong in (
        dataclasses.replace(receipt, index=EntryIndex(1)),
        dataclasses.replace(receipt, index=EntryIndex(2**63)),
        dataclasses.replace(receipt, inclusion_path=()),
        dataclasses.replace(receipt, inclusion_path=(bytes(32), *receipt.inclusion_path)),
        dataclasses.replace(receipt, inclusion_path=(b"short",)),
    ):
        with pytest.raises(ReceiptError, match="does not hold"):
            check(envelope, wrong)


def test_a_checkpoint_signed_by_another_key_proves_nothing(alliance: RulesAlliance) -> None:
    envelope = presented(OPEN, EARN)
    alliance.submit([envelope])
    for signer in (Signer(ORIGIN, bytes(32)), Signer("clearing.example/other", LOG_KEY.seed)):
        with pytest.raises(ReceiptError, match="not signed by any known key"):
            check(envelope, receipt_of_leaf(alliance.leaves, 1, signer=signer))


def test_the_entry_of_another_presentment_is_no_answer(alliance: RulesAlliance) -> None:
    alliance.submit([presented(OPEN)])
    envelope = presented(EARN, minutes=1)
    alliance.submit([envelope])
    with pytest.raises(ReceiptError, match="holds another payload than was sent"):
        check(envelope, receipt_of_leaf(alliance.leaves, 1))


def test_the_same_transactions_presented_at_another_time_are_no_answer_unless_replayed(
    alliance: RulesAlliance,
) -> None:
    alliance.submit([presented(OPEN)])
    again = presented(OPEN, minutes=5)
    with pytest.raises(ReceiptError, match="holds another payload than was sent"):
        check(again, receipt_of_leaf(alliance.leaves, 1))
    assert check(again, receipt_of_leaf(alliance.leaves, 1, replayed=True))[0].is_accepted


def test_a_replay_must_hold_each_transaction_as_it_was_sent(alliance: RulesAlliance) -> None:
    alliance.submit([presented(OPEN, EARN)])
    replayed = receipt_of_leaf(alliance.leaves, 1, replayed=True)
    for other in (BURN, earn("e1", CARD, "bakery-1", 101, NOON), earn("e2", CARD, "bakery-1", 100, NOON)):
        with pytest.raises(ReceiptError, match=f"does not hold '{other.reference}' as it was sent"):
            check(presented(OPEN, other), replayed)


def test_a_replay_of_another_merchants_transactions_is_no_answer(alliance: RulesAlliance) -> None:
    alliance.submit([presented(OPEN)])
    theirs = presented(OPEN, merchant=CINEMA)
    with pytest.raises(ReceiptError, match="another merchant's"):
        check(theirs, receipt_of_leaf(alliance.leaves, 1, replayed=True))


def test_an_instruction_is_no_answer_to_a_presentment(alliance: RulesAlliance) -> None:
    envelope = presented(OPEN)
    instruction = sign_envelope(envelope.payload, INSTRUCTION_TYPE, [key_of(BAKERY)])
    at = instant_of(NOON)
    alliance.leaves.append(encode_instruction_entry(instruction, at, InstructionResult(Outcome.ACCEPTED), LINKS))
    with pytest.raises(ReceiptError, match="no presentment"):
        check(envelope, receipt_of_leaf(alliance.leaves, 1))


def test_an_entry_without_all_results_is_no_answer(alliance: RulesAlliance) -> None:
    envelope = presented(OPEN, EARN)
    # Field 1 of an entry is the envelope; nothing follows it.
    alliance.leaves.append(b"\x0a" + _varint(envelope.ByteSize()) + envelope.SerializeToString())
    with pytest.raises(ReceiptError, match="does not give each of its transactions a result"):
        check(envelope, receipt_of_leaf(alliance.leaves, 1))


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x0a\x7fcut short"])
def test_an_entry_whose_payload_is_nothing_is_no_answer(alliance: RulesAlliance, payload: bytes) -> None:
    envelope = presented(OPEN)
    broken = Envelope(payload=payload, payload_type=envelope.payload_type)
    alliance.leaves.append(b"\x0a" + _varint(broken.ByteSize()) + broken.SerializeToString())
    with pytest.raises(ReceiptError, match="does not hold"):
        check(envelope, receipt_of_leaf(alliance.leaves, 1))


def test_a_looked_up_transaction_must_stand_where_the_gateway_says(alliance: RulesAlliance) -> None:
    alliance.submit([presented(OPEN, EARN)])
    receipt = receipt_of_leaf(alliance.leaves, 1)
    found = check_recorded(BAKERY, Reference("e1"), receipt, 1, LOG_KEY.verifier)[1]
    assert (found.reference, found.points) == ("e1", 100)
    for merchant, reference, position in ((BAKERY, "e1", 0), (BAKERY, "e1", 2), (BAKERY, "e2", 1), (CINEMA, "e1", 1)):
        with pytest.raises(ReceiptError, match="does not hold"):
            check_recorded(merchant, Reference(reference), receipt, position, LOG_KEY.verifier)


def _varint(number: int) -> bytes:
    """A length as protobuf writes it."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
