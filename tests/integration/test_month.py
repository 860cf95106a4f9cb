"""One month from the first earn to the audited settlement, over gRPC and PostgreSQL."""

from __future__ import annotations

from back_office.client.payments import recorded_payment
from clearing.contract.instruction import decode_proposal, encode_payment
from clearing.model import MerchantId, Payment
from clearing.v1 import instruction_pb2, settlement_pb2
from tests.integration.alliance import Alliance
from tests.integration.observation import refusal, untouched
from tests.integration.test_audit import payments_of


def test_the_bakery_pays_the_cinema_for_the_points_it_issued(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    alliance.earn("bakery", card, 1_000)
    result = alliance.burn("cinema", card, 400)
    assert (result.points, result.points_available) == (400, 600)

    alliance.travel("2026-02-01 00:00:00")
    closing = alliance.accept(close_window=instruction_pb2.CloseWindow(window="2026-01"))
    assert closing.instruction_result is not None
    window_range = closing.instruction_result.window_range
    assert window_range is not None

    request = settlement_pb2.GetSettlementRequest(window="2026-01")
    message = alliance.settlement.GetSettlement(request, metadata=alliance.authorization(alliance.operator)).proposal
    proposal = decode_proposal(message)
    # 400 points at 0.0090 EUR
    assert (proposal.payments, proposal.payments_minor) == (1, 360)
    (proven,) = payments_of(alliance, "2026-01").payments
    assert proven.payment == encode_payment(Payment(MerchantId("bakery"), MerchantId("cinema"), 360))
    alliance.accept(propose_settlement=message)
    approval = instruction_pb2.ApproveSettlement(proposal=message)
    # A gateway started again still knows who proposed.
    alliance.close()
    alliance.open()
    with untouched(alliance.engine):
        assert refusal(lambda: alliance.instruct(approve_settlement=approval)).reason == "SECOND_SIGNATURE_REQUIRED"
    alliance.accept(approve_settlement=approval, signers=[alliance.second_operator])
    alliance.accept(record_payment=recorded_payment("2026-01", proven, "2026-02-05", "E2E-1"))
    windows = alliance.settlement.ListWindows(
        settlement_pb2.ListWindowsRequest(), metadata=alliance.authorization(alliance.operator)
    ).windows
    assert [(window.window, window.status) for window in windows] == [
        ("2026-01", settlement_pb2.WINDOW_STATUS_SETTLED),
        ("2026-02", settlement_pb2.WINDOW_STATUS_OPEN),
    ]
