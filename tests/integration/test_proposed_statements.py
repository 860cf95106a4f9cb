"""A merchant proves to itself that the statement it was given is the one in the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from clearing.contract import instruction as instruction_contract
from clearing.contract.receipt import Receipt, receipt_of
from clearing.log.checkpoint import open_checkpoint, sign_checkpoint
from clearing.log.note import Signer
from clearing.model import EntryIndex, MerchantId, WindowId
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, operations_pb2, presentment_pb2, settlement_pb2
from merchant_gateway.client.proposal_receipt import check_proposal
from merchant_gateway.client.receipt_check import ReceiptError
from merchant_gateway.server.access import Access
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import refusal
from tests.integration.test_audit import proposal, settle

JANUARY = WindowId("2026-01")
CINEMA = MerchantId("cinema")


@pytest.fixture(scope="module")
def alliance(module_database_url: str) -> Iterator[Alliance]:
    """January is proposed, February is closed, March is open."""
    with founded(module_database_url) as an_alliance:
        an_alliance.admit("bakery", "cinema")
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


def own_statement(alliance: Alliance) -> bytes:
    request = settlement_pb2.GetStatementRequest(window=JANUARY)
    return alliance.settlement.GetStatement(request, metadata=alliance.authorization(alliance.keys["cinema"])).content


def test_a_merchants_statement_is_proven_to_be_the_proposed_one(alliance: Alliance) -> None:
    receipt = proposal_receipt(alliance)
    proposed = check_proposal(JANUARY, receipt, alliance.log_key.verifier)
    assert set(proposed.digests) == {None, "bakery", "cinema"}
    assert proposed.entry_index == receipt.index
    proposed.require_same(CINEMA, own_statement(alliance))


def test_a_statement_that_differs_is_told_from_the_recorded_one(alliance: Alliance) -> None:
    proposed = check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier)
    altered = own_statement(alliance).replace(b'"0.36"', b'"0.63"')
    with pytest.raises(ReceiptError, match=rf"the statement of cinema for 2026-01 .*entry {proposed.entry_index} of"):
        proposed.require_same(CINEMA, altered)
    with pytest.raises(ReceiptError, match="the statement of bakery"):
        proposed.require_same(MerchantId("bakery"), own_statement(alliance))
    with pytest.raises(ReceiptError, match="records no digest of the statement of florist"):
        proposed.require_same(MerchantId("florist"), own_statement(alliance))


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
    del changed.statement_digests[0]
    request = operations_pb2.InstructRequest(
        envelope=sign_envelope(
            alliance.instruction(propose_settlement=changed), instruction_contract.PAYLOAD_TYPE, [alliance.operator]
        )
    )
    refused = alliance.operations.Instruct(request).receipt
    with pytest.raises(ReceiptError, match="proposes no settlement of 2026-01"):
        check_proposal(JANUARY, receipt_of(refused), alliance.log_key.verifier)


def test_a_corrected_proposal_takes_the_place_of_the_first_also_after_a_restart(database_url: str) -> None:
    with founded(database_url) as alliance:
        alliance.admit("bakery", "cinema")
        alliance.travel("2026-02-01 00:00:00")
        alliance.accept(close_window=instruction_pb2.CloseWindow(window=JANUARY))
        false_proposal = proposal(alliance, JANUARY)
        false_proposal.statement_digests[1].digest = b"\1" * 32
        alliance.accept(propose_settlement=false_proposal)
        first = check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier)
        with pytest.raises(ReceiptError, match="it is not the statement that is settled"):
            first.require_same(CINEMA, own_statement(alliance))

        right = proposal(alliance, JANUARY)
        alliance.accept(propose_settlement=right)
        alliance.accept(
            approve_settlement=instruction_pb2.ApproveSettlement(proposal=right), signers=[alliance.second_operator]
        )
        second = check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier)
        assert second.entry_index == first.entry_index + 1
        second.require_same(CINEMA, own_statement(alliance))

        alliance.reopen(Access())
        assert check_proposal(JANUARY, proposal_receipt(alliance), alliance.log_key.verifier) == second
