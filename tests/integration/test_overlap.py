"""A batch is decided while the one before it is still being committed: it sees what that one will have left, and goes
down with it if that is not to be."""

from __future__ import annotations

import pytest

from clearing.contract import instruction as instruction_contract
from clearing.contract.entry import decode_entry
from clearing.contract.receipt import Receipt
from clearing.deciding.authentication import authenticate_instruction
from clearing.errors import ErrorReason, Rejection
from clearing.model import Outcome, TransactionResult
from clearing.rules.directory import Directory
from clearing.signing.envelope import sign_envelope
from clearing.v1 import presentment_pb2
from clearing.v1.instruction_pb2 import OpenStore
from clearing.writer.pool import Reply
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.held_up import decided_ahead, execute, hand_in, held_up, is_held_up
from tests.integration.observation import complaints, log_size
from tests.waiting import wait_until

Earn = presentment_pb2.Earn
Burn = presentment_pb2.Burn
Refund = presentment_pb2.Refund

COMMITTING_SESSION = (
    "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def directory_of(alliance: Alliance) -> Directory:
    directory = alliance.gateway.writer.directory
    assert directory is not None
    return directory


def results_of(reply: Reply) -> tuple[TransactionResult, ...]:
    assert isinstance(reply, Receipt)
    return decode_entry(reply.leaf).transaction_results


def test_a_batch_decided_ahead_sees_cards_and_references_of_the_one_before(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    earned = alliance.transaction("bakery", card, reference="ahead", earn=Earn(points=100))
    other_content = presentment_pb2.Transaction()
    other_content.CopyFrom(earned)
    other_content.earn.points = 101
    first = alliance.envelope(alliance.presentment("bakery", earned))
    dependent = alliance.envelope(
        alliance.presentment(
            "bakery",
            alliance.transaction("bakery", card, burn=Burn(points=40)),
            alliance.transaction("bakery", card, refund=Refund(original_reference="ahead", points=50)),
            alliance.transaction("bakery", card, refund=Refund(original_reference="ahead", points=51)),
            other_content,
        )
    )
    with held_up(alliance):
        original = hand_in(alliance, first)
        wait_until(lambda: is_held_up(alliance))
        answers = decided_ahead(alliance, dependent, first)
    (receipt,) = original.result(CALL_TIMEOUT_SECONDS)
    decided, again, _ = answers.result(CALL_TIMEOUT_SECONDS)
    assert [(each.outcome, each.points_available) for each in results_of(decided)] == [
        (Outcome.ACCEPTED, 60),
        (Outcome.ACCEPTED, 10),
        (Outcome.REFUND_EXCEEDS_REMAINING, 10),
        (Outcome.REFERENCE_REUSED, 0),
    ]
    assert isinstance(receipt, Receipt)
    assert isinstance(again, Receipt)
    assert (again.replayed, again.index, again.leaf) == (True, receipt.index, receipt.leaf)
    assert alliance.burn("bakery", card, 10).points_available == 0
    assert complaints(alliance.engine) == []


def test_a_batch_decided_ahead_sees_the_instructions_of_the_one_before(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    opening = alliance.instruction(reference="second-store", open_store=OpenStore(merchant="bakery", store="bakery-2"))
    signed = sign_envelope(opening, instruction_contract.PAYLOAD_TYPE, [alliance.operator])
    message = authenticate_instruction(signed, directory_of(alliance))
    earned = alliance.transaction("bakery", card, store="bakery-2", earn=Earn(points=100))
    with held_up(alliance):
        opened = alliance.gateway.writer.submit([message])
        wait_until(lambda: is_held_up(alliance))
        answers = decided_ahead(alliance, alliance.envelope(alliance.presentment("bakery", earned)))
        again = alliance.gateway.writer.submit([message])
    (receipt,) = opened.result(CALL_TIMEOUT_SECONDS)
    (result,) = results_of(answers.result(CALL_TIMEOUT_SECONDS)[0])
    assert result.outcome is Outcome.ACCEPTED
    (replayed,) = again.result(CALL_TIMEOUT_SECONDS)
    assert isinstance(receipt, Receipt)
    assert isinstance(replayed, Receipt)
    assert (replayed.replayed, replayed.index) == (True, receipt.index)


def test_a_batch_decided_ahead_goes_down_with_the_one_before_and_both_can_be_sent_again(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    size = log_size(alliance.engine)
    envelopes = [
        alliance.envelope(
            alliance.presentment("bakery", alliance.transaction("bakery", card, earn=Earn(points=points)))
        )
        for points in (100, 20)
    ]
    with held_up(alliance):
        calls = [hand_in(alliance, envelopes[0])]
        wait_until(lambda: is_held_up(alliance))
        calls.append(decided_ahead(alliance, envelopes[1]))
        assert execute(alliance.engine, COMMITTING_SESSION) == 1
        for call in calls:
            with pytest.raises(Rejection) as turned_away:
                call.result(CALL_TIMEOUT_SECONDS)
            assert turned_away.value.reason is ErrorReason.DATABASE_UNAVAILABLE
    assert log_size(alliance.engine) == size
    for place, envelope in enumerate(envelopes):
        (receipt,) = hand_in(alliance, envelope).result(CALL_TIMEOUT_SECONDS)
        assert isinstance(receipt, Receipt)
        assert (receipt.replayed, receipt.index) == (False, size + place)
    assert alliance.burn("bakery", card, 120).points_available == 0
    assert complaints(alliance.engine) == []
