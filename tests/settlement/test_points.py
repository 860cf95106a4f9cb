"""Points of a window: every account foots, and a movement changes the accounts that the ledger says it does."""

from __future__ import annotations

import datetime

import pytest

from clearing.model import CardToken, Points
from clearing.rules.movements import Movement, Posting, credit_account, debit_account
from settlement.v1.errors import InconsistentFlowsError
from settlement.v1.points import EXPIRED, ISSUED, ON_CARDS, OWED_BY_CARDS, REDEEMED, OutstandingPoints, Redemption
from tests.settlement.scenario import MERCHANTS, settled

A, B, C, D = MERCHANTS


@pytest.mark.parametrize("movement", Movement)
def test_signs_are_those_of_the_ledgers_accounts(movement: Movement) -> None:
    day = datetime.date(2026, 1, 5)
    posting = Posting(CardToken("card"), movement, A, B, day, day.replace(day=1), Points(1), "PTS")
    debited, credited = debit_account(posting).split("/")[0], credit_account(posting).split("/")[0]
    # What an issuer issued and what cards owe it are debit balances, the others credit balances.
    for account, signs, normal_side in (
        ("issued", ISSUED, debited),
        ("debt", OWED_BY_CARDS, debited),
        ("owed", REDEEMED, credited),
        ("expired", EXPIRED, credited),
        ("card", ON_CARDS, credited),
    ):
        touched = account in (debited, credited)
        assert signs.get(movement, 0) == (0 if not touched else 1 if normal_side == account else -1)


def test_an_issuers_points_go_from_opening_to_closing() -> None:
    statement = settled("""
        before
        a earn 1000 on 2025-12-05
        a burn 200 at b on 2025-12-06
        a debt_incurred 30 on 2025-12-05
        during
        a earn 500 on 2026-01-05
        a earn_to_debt 10 on 2026-01-06
        a earn_to_creditor 7 at b on 2026-01-06
        b earn 50 on 2026-01-06
        b debt_incurred 9 on 2026-01-06
        b debt_reinstated 7 on 2026-01-06
        a debt_reinstated 5 on 2026-01-07
        a earn_refunded 40 on 2026-01-05
        a debt_incurred 3 on 2026-01-05
        a burn 100 at b on 2026-01-20
        a burn 11 at a on 2026-01-20
        a burn_refunded 20 at b on 2025-12-06
        a expiry 60 on 2026-01-31
        a expiry_reversed 4 on 2025-12-05
    """).statement_of(A)
    points = statement.points
    assert points.opening == OutstandingPoints(on_cards=800, owed_by_cards=30)
    assert (points.earned, points.earns_taken_back, points.debt_repaid_elsewhere) == (517, 47, 5)
    assert (points.redeemed_gross, points.redemptions_refunded, points.redeemed) == (118, 20, 98)
    assert (points.expired_gross, points.taken_back_after_expiry, points.expired) == (60, 4, 56)
    # 800 + 500 + 20 - 111 - 40 - 60, and 30 + 3 - 10 - 5.
    assert points.closing == OutstandingPoints(on_cards=1109, owed_by_cards=18)
    assert points.opening.outstanding + points.issued - points.redeemed - points.expired == points.closing.outstanding
    assert statement.redeemed_from_me == (Redemption(A, A, 11, 0), Redemption(A, B, 107, 20))
    assert statement.redeemed_at_me == (Redemption(A, A, 11, 0),)


def test_a_merchant_without_flows_has_an_empty_account() -> None:
    statement = settled("a earn 100 on 2026-01-05").statement_of(D)
    assert statement.points.opening.outstanding == statement.points.closing.outstanding == 0
    assert not any((statement.redeemed_at_me, statement.redeemed_from_me, statement.obligations, statement.payments))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a burn 100 at b on 2026-01-05", "a: -100 points on cards"),
        ("a earn_to_debt 5 on 2026-01-05", "-5 owed by cards"),
        ("a earn 100 on 2026-02-01", "issued after 2026-01"),
        ("stranger earn 100 on 2026-01-05", "not a member"),
        ("a earn 100 on 2026-01-05\na burn 10 at stranger on 2026-01-05", "not a member"),
        ("a earn -1 on 2026-01-05", "fewer than no points"),
    ],
)
def test_flows_that_no_log_can_have_are_refused(text: str, what: str) -> None:
    with pytest.raises(InconsistentFlowsError, match=what):
        settled(text)
