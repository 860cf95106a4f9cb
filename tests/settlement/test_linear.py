"""What is computed by indexes and heaps, against definitions so plain that nobody doubts them."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.model import MerchantId, Payment
from settlement.v1.netting import fewest_payments
from settlement.v1.report_json import alliance_json, merchant_json
from settlement.v1.statements import Settlement
from tests.settlement.test_month_end import settlements


@settings(max_examples=60)
@given(settlements())
def test_a_statement_is_what_the_alliances_says_of_the_member(settlement: Settlement) -> None:
    alliance = settlement.alliance
    assert [each.merchant for each in settlement.merchants] == [each.issuer for each in alliance.points]
    for each in settlement.merchants:
        who = each.merchant
        assert settlement.statement_of(who) is each
        assert each.points == next(points for points in alliance.points if points.issuer == who)
        assert each.redeemed_from_me == tuple(one for one in alliance.redemptions if one.issuer == who)
        assert each.redeemed_at_me == tuple(one for one in alliance.redemptions if one.redeemer == who)
        assert each.obligations == tuple(one for one in alliance.obligations if who in (one.debtor, one.creditor))
        assert each.bilateral == tuple(one for one in alliance.bilateral if who in (one.payer, one.payee))
        assert each.payments == tuple(one for one in alliance.payments if who in (one.payer, one.payee))
        assert each.position == next(one for one in alliance.positions if one.participant == who)


@settings(max_examples=60)
@given(settlements())
def test_a_position_is_all_that_others_owe_less_all_that_is_owed_to_others(settlement: Settlement) -> None:
    others = [each for each in settlement.alliance.obligations if each.debtor != each.creditor]
    for position in settlement.alliance.positions:
        who = position.participant
        assert position.payable_minor == sum(each.amount_minor for each in others if each.debtor == who)
        assert position.receivable_minor == sum(each.amount_minor for each in others if each.creditor == who)


@settings(max_examples=30)
@given(settlements())
def test_statements_written_together_have_the_digests_of_those_written_alone(settlement: Settlement) -> None:
    assert settlement.alliance_digest == sha256(alliance_json(settlement)).digest()
    assert settlement.merchant_digests == {
        each.merchant: sha256(merchant_json(each)).digest() for each in settlement.merchants
    }


def paid_largest_first(positions: dict[MerchantId, int]) -> list[Payment]:
    """The largest payer pays the largest payee, of equals the first by name, until nothing is left."""
    left = {name: amount for name, amount in positions.items() if amount}
    payments = []
    while left:
        payer = min(left, key=lambda name: (left[name], name))
        payee = min(left, key=lambda name: (-left[name], name))
        amount = min(-left[payer], left[payee])
        payments.append(Payment(payer, payee, amount))
        left[payer] += amount
        left[payee] -= amount
        left = {name: amount for name, amount in left.items() if amount}
    return sorted(payments)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 10**9), min_size=30, max_size=80), st.lists(st.integers(1, 10**9), min_size=30))
def test_what_is_too_many_to_search_is_paid_largest_first(receive: list[int], pay: list[int]) -> None:
    # Even amounts on one side and odd ones on the other: nothing is exactly opposite, but for whoever makes it even.
    amounts = [*(2 * amount for amount in receive), *(-2 * amount - 1 for amount in pay)]
    positions = {MerchantId(f"m{number:03d}"): amount for number, amount in enumerate(amounts)}
    positions[MerchantId("last")] = -sum(amounts)
    if -positions[MerchantId("last")] not in amounts:
        assert list(fewest_payments(positions)) == paid_largest_first(positions)
