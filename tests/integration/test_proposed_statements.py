"""A merchant proves to itself that the statement it was given is the one in the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from clearing.contract import instruction as instruction_contract
from clearing.contract.instruction import decode_proposal
from clearing.contract.receipt import Receipt, receipt_of
from clearing.log.checkpoint import open_checkpoint, sign_checkpoint
from clearing.log.note import Signer
from clearing.model import EntryIndex, MerchantId, WindowId
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, operations_pb2, presentment_pb2, settlement_pb2
from merchant_gateway.client.proposal_receipt import check_proposal, require_all_payments
from merchant_gateway.client.receipt_check import ReceiptError
from merchant_gateway.server.access import Access
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import refusal
from tests.integration.test_audit import payments_of, proposal, settle

JANUARY = WindowId("2026-01")
CINEMA = MerchantId("cinema")


@pytest.fixture(scope="module")
def alliance(module_database_url: str) -> Iterator[Alliance]:
    """January is proposed, February is closed, March is open."""
    with founded(module_database_url) as an_alliance:
        an_alliance.admit("bakery", "cinema", "florist")
        card = an_alliance.open_card("bakery")
        an_alliance.earn("bakery", card, 100)
        an_alliance.burn("cinema", card, 40)
        an_alliance.travel("2026-03-01 00:00:00")
        settle(an_alliance, JANUARY)
        an_alliance.accept(close_window=instruction_pb2.CloseWindow(window="2026-02"))
        yield an_alliance


def proposal_receipt(alliance: Alliance, window: str = JANUARY) -> Receipt:
    request = settlement_pb2.GetProposalRequest(window=window)
    metadata = alliance.authorization(alliance.keys["cinema"])
    return receipt_of(alliance.settlement.GetProposal(request, metadata=metadata).receipt)


def own_statement(alliance: Alliance, merchant: str = "cinema") -> bytes:
    request = settlement_pb2.GetStatementRequest(window=JANUARY)
    return alliance.settlement.GetStatement(request, metadata=alliance.authorization(alliance.keys[merchant])).content


def test_a_merchants_statement_and_payments_are_proven_to_be_the_proposed_ones(alliance: Alliance) -> None:
    receipt = proposal_receipt(alliance)
    proposed = check_proposal(JANUARY, receipt, alliance.log_key.verifier)
    assert proposed.entry_index == receipt.index
    for name in ("cinema", "bakery"):
        proven = payments_of(alliance, JANUARY, alliance.keys[name])
        assert [(each.payment.payer, each.payment.payee) for each in proven.payments] == [("bakery", "cinema")]
        proposed.require_statement(MerchantId(name), own_statement(alliance, name), proven)


def test_a_merchant_sees_nobody_elses_payments(alliance: Alliance) -> None:
    assert payments_of(alliance, JANUARY, alliance.keys["florist"]).payments == []
    assert [each.merchant for each in payments_of(alliance, JANUARY, alliance.keys["florist"]).statements] == [
        "florist"
    ]
    heard = refusal(lambda: payments_of(alliance, JANUARY, alliance.keys["florist"], "bakery"))
    assert (heard.reason, heard.field) == ("NOT_FOUND", "merchant")
    everything = payments_of(alliance, JANUARY)
    assert [each.merchant for each in everything.statements] == ["bakery", "cinema", "florist"]
    require_all_payments(decode_proposal(proposal(alliance, JANUARY)), everything.payments)


def test_payments_that_are_left_out_or_altered_are_told(alliance: Alliance) -> None:
    proposed = check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier)
    everything = payments_of(alliance, JANUARY)
    with pytest.raises(ReceiptError, match="are not those that the proposal of 2026-01 has"):
        require_all_payments(proposed.proposal, everything.payments[1:])
    for field, value in (("salt", bytes(32)), ("index", 1), ("path", [bytes(32)])):
        altered = payments_of(alliance, JANUARY, alliance.keys["cinema"])
        payment = settlement_pb2.ProvenPayment(
            payment=altered.payments[0].payment,
            **({"index": altered.payments[0].index, "salt": altered.payments[0].salt} | {field: value}),  # type: ignore[arg-type]
        )
        altered.payments[0].CopyFrom(payment)
        with pytest.raises(ReceiptError, match="is not one that entry"):
            proposed.require_statement(CINEMA, own_statement(alliance), altered)
    fewer = payments_of(alliance, JANUARY, alliance.keys["cinema"])
    del fewer.payments[:]
    with pytest.raises(ReceiptError, match="are not those in the statement of cinema"):
        proposed.require_statement(CINEMA, own_statement(alliance), fewer)


def test_a_statement_that_differs_is_told_from_the_recorded_one(alliance: Alliance) -> None:
    proposed = check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier)
    proven = payments_of(alliance, JANUARY, alliance.keys["cinema"])
    altered = own_statement(alliance).replace(b'"0.36"', b'"0.63"')
    with pytest.raises(ReceiptError, match=rf"the statement of cinema for 2026-01 .*entry {proposed.entry_index} of"):
        proposed.require_statement(CINEMA, altered, proven)
    with pytest.raises(ReceiptError, match="proves nothing of the statement of bakery"):
        proposed.require_statement(MerchantId("bakery"), own_statement(alliance), proven)
    with pytest.raises(ReceiptError, match=r"the alliance's statement .* it is not the statement that is settled"):
        proposed.require_alliance_statement(own_statement(alliance))


def test_a_month_that_is_not_proposed_has_no_receipt(alliance: Alliance) -> None:
    for window in ("2026-02", "2026-03", "1999-01"):
        heard = refusal(lambda window=window: proposal_receipt(alliance, window))  # type: ignore[misc]  # this round's
        assert (heard.reason, heard.field) == ("NOT_FOUND", "window")
    assert refusal(lambda: proposal_receipt(alliance, "January")).field == "window"


def test_a_receipt_that_proves_something_else_is_refused(alliance: Alliance) -> None:
    verifier = alliance.log_key.verifier
    receipt = proposal_receipt(alliance)
    with pytest.raises(ReceiptError, match="proposes no settlement of 2026-02"):
        check_proposal(WindowId("2026-02"), receipt, verifier)
    forger = Signer(alliance.origin, PrivateKey.generate().seed)
    forged = sign_checkpoint(open_checkpoint(receipt.checkpoint, verifier), forger)
    for altered in (
        replace(receipt, checkpoint=forged),
        replace(receipt, leaf=receipt.leaf + b"\x20\x00"),
        replace(receipt, index=EntryIndex(receipt.index - 1)),
    ):
        with pytest.raises(ReceiptError, match="does not hold"):
            check_proposal(JANUARY, altered, verifier)


def test_an_entry_that_is_no_accepted_proposal_is_refused(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    earn = alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=1))
    (presented,) = alliance.submit(alliance.envelope(alliance.presentment("bakery", earn)))
    with pytest.raises(ReceiptError, match="which is no instruction"):
        check_proposal(JANUARY, receipt_of(presented), alliance.log_key.verifier)

    changed = proposal(alliance, JANUARY)
    changed.payments += 1
    request = operations_pb2.InstructRequest(
        envelope=sign_envelope(
            alliance.instruction(propose_settlement=changed), instruction_contract.PAYLOAD_TYPE, [alliance.operator]
        )
    )
    refused = alliance.operations.Instruct(request).receipt
    with pytest.raises(ReceiptError, match="proposes no settlement of 2026-01"):
        check_proposal(JANUARY, receipt_of(refused), alliance.log_key.verifier)


def test_a_proposal_made_again_takes_the_place_of_the_first_also_after_a_restart(database_url: str) -> None:
    with founded(database_url) as alliance:
        alliance.admit("bakery", "cinema")
        alliance.travel("2026-02-01 00:00:00")
        alliance.accept(close_window=instruction_pb2.CloseWindow(window=JANUARY))
        right = proposal(alliance, JANUARY)
        alliance.accept(propose_settlement=right)
        first = check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier)
        alliance.accept(propose_settlement=right)
        alliance.accept(
            approve_settlement=instruction_pb2.ApproveSettlement(proposal=right), signers=[alliance.second_operator]
        )
        second = check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier)
        assert second.entry_index == first.entry_index + 1
        second.require_statement(
            CINEMA, own_statement(alliance), payments_of(alliance, JANUARY, alliance.keys["cinema"])
        )

        alliance.reopen(Access())
        assert check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier) == second
