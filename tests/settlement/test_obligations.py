"""Obligations: the money, to the cent, in worked examples by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from clearing.model import POOL, SettlementMethod
from settlement.v1.obligations import Obligation
from settlement.v1.statements import Settlement
from tests.settlement.scenario import MERCHANTS, settled

A, B, C, D = MERCHANTS
PLENTY = """
    before
    a earn 1000000 on 2025-12-01
    b earn 1000000 on 2025-12-01
    c earn 1000000 on 2025-12-01
    during
"""


def owed(settlement: Settlement) -> list[str]:
    """One line an obligation: debtor, creditor, points, amount in minor units, remainder in minor units."""
    return [
        f"{each.debtor} {each.creditor} {each.points} {each.amount_minor} {each.remainder_minor.normalize():f}"
        for each in settlement.alliance.obligations
    ]


def one(text: str, decimals: int = 2) -> Obligation:
    (obligation,) = settled(PLENTY + text, decimals=decimals).alliance.obligations
    return obligation


def test_each_issuer_owes_each_redeemer_for_its_points() -> None:
    settlement = settled(f"""{PLENTY}
        a burn 100 at b on 2026-01-05
        a burn 250 at b on 2026-01-20
        a burn 1000 at c on 2026-01-20
        b burn 70 at a on 2026-01-20
        c burn 500 at c on 2026-01-20
    """)
    assert owed(settlement) == ["a b 350 350 0", "a c 1000 1000 0", "b a 70 70 0", "c c 500 0 0"]
    assert [(each.participant, each.net_minor) for each in settlement.alliance.positions] == [
        (A, -1280),
        (B, 280),
        (C, 1000),
        (D, 0),
    ]


def test_own_points_are_shown_and_owed_to_nobody() -> None:
    settlement = settled(f"{PLENTY}\na burn 500 at a on 2026-01-20")
    (obligation,) = settlement.alliance.obligations
    assert (obligation.points, obligation.amount_minor, obligation.exact_minor) == (500, 0, Decimal(0))
    assert obligation.lines[0].price == 0
    assert settlement.alliance.payments == ()
    statement = settlement.statement_of(A)
    assert statement.obligations == (obligation,)
    assert statement.i_owe == statement.i_am_owed == ()


def test_a_price_that_changes_applies_to_points_issued_from_its_month_on() -> None:
    obligation = one("""
        prices alliance 2025-12-01 redemption 0.0125
        a burn 100 at b on 2025-09-05
        a burn 200 at b on 2025-11-15
        a burn 100 at b on 2025-12-16
        a burn 300 at b on 2026-01-31
    """)
    # 300 x 1.00 cent + 400 x 1.25 cents.
    assert obligation.amount_minor == 800
    lines = [
        (f"{line.issued_from:%Y-%m}", f"{line.issued_to:%Y-%m}", line.price, line.points) for line in obligation.lines
    ]
    assert lines == [
        ("2025-09", "2025-11", Decimal("0.01"), 300),
        ("2025-12", "2026-01", Decimal("0.0125"), 400),
    ]


def test_a_price_that_comes_back_makes_lines_of_its_own() -> None:
    obligation = one("""
        prices alliance 2025-12-01 redemption 0.02
        prices alliance 2026-01-01 redemption 0.01
        a burn 1 at b on 2025-11-09
        a burn 1 at b on 2025-12-10
        a burn 1 at b on 2026-01-20
    """)
    assert [line.price for line in obligation.lines] == [Decimal("0.01"), Decimal("0.02"), Decimal("0.01")]
    assert obligation.amount_minor == 4


def test_a_pairs_price_goes_before_the_redeemers_and_that_before_the_alliances() -> None:
    settlement = settled(f"""{PLENTY}
        prices alliance 2025-12-01 redemption 0.011
        prices b 2025-12-01 redemption 0.015
        prices a-b 2026-01-01 redemption 0.02
        a burn 1000 at b on 2025-12-09
        a burn 1000 at b on 2026-01-10
        c burn 1000 at b on 2026-01-10
        b burn 1000 at a on 2026-01-10
    """)
    # 1000 x 1.5 + 1000 x 2 cents; the pair's price holds for a's points at b, not for b's at a.
    assert owed(settlement) == ["a b 2000 3500 0", "b a 1000 1100 0", "c b 1000 1500 0"]


def test_a_refund_takes_back_what_its_original_was_worth_then() -> None:
    settlement = settled(f"""{PLENTY}
        prices alliance 2026-01-01 redemption 0.02
        a burn 100 at b on 2026-01-05
        a burn_refunded 60 at b on 2025-12-20
    """)
    # 100 x 2 cents - 60 x 1 cent.
    assert owed(settlement) == ["a b 40 140 0"]


def test_refunds_beyond_the_burns_turn_an_obligation_round() -> None:
    settlement = settled(f"""{PLENTY}
        a burn 100 at b on 2026-01-05
        a burn_refunded 350 at b on 2025-12-20
    """)
    assert owed(settlement) == ["a b -250 -250 0"]
    (payment,) = settlement.alliance.payments
    assert (payment.payer, payment.payee, payment.amount_minor) == (B, A, 250)
    (net,) = settlement.alliance.bilateral
    assert (net.payer, net.payee, net.amount_minor) == (B, A, 250)


def test_points_that_repay_a_debt_elsewhere_are_redeemed_at_the_creditor() -> None:
    settlement = settled(f"""{PLENTY}
        b debt_incurred 80 on 2026-01-05
        a earn_to_creditor 80 at b on 2026-01-06
        b debt_reinstated 80 on 2026-01-06
    """)
    assert owed(settlement) == ["a b 80 80 0"]


@pytest.mark.parametrize(
    ("points", "amount_minor", "remainder"),
    [
        (100, 50, "0"),
        (101, 50, "0.5"),
        (103, 52, "-0.5"),
        (99, 50, "-0.5"),
        (97, 48, "0.5"),
    ],
)
def test_half_a_cent_is_rounded_to_the_even_cent_and_kept_as_remainder(
    points: int, amount_minor: int, remainder: str
) -> None:
    prices = "prices alliance 2026-01-01 redemption 0.005"
    obligation = one(f"{prices}\na burn {points} at b on 2026-01-05")
    assert obligation.amount_minor == amount_minor
    assert obligation.remainder_minor == Decimal(remainder)
    taken_back = one(f"{prices}\na burn_refunded {points} at b on 2026-01-05")
    assert taken_back.amount_minor == -amount_minor
    assert taken_back.remainder_minor == -Decimal(remainder)


def test_rounding_happens_once_an_obligation_not_once_a_line() -> None:
    obligation = one("""
        prices alliance 2025-12-01 redemption 0.004
        prices alliance 2026-01-01 redemption 0.0041
        a burn 1 at b on 2025-12-01
        a burn 1 at b on 2026-01-02
        a burn 1 at b on 2025-12-01
    """)
    # 0.4 + 0.4 + 0.41 cents; each line alone would be rounded to nothing.
    assert (obligation.exact_minor, obligation.amount_minor) == (Decimal("1.21"), 1)


@pytest.mark.parametrize(
    ("decimals", "amount_minor", "remainder"), [(0, 12, "0.3455"), (2, 1235, "-0.45"), (3, 12346, "-0.5")]
)
def test_currencies_have_their_own_smallest_unit(decimals: int, amount_minor: int, remainder: str) -> None:
    text = "prices alliance 2026-01-01 redemption 0.0005\na burn 24691 at b on 2026-01-05"
    obligation = one(text, decimals)
    assert obligation.exact_minor == Decimal("12.3455").scaleb(decimals)
    assert (obligation.amount_minor, obligation.remainder_minor) == (amount_minor, Decimal(remainder))


def test_huge_points_at_the_finest_price_are_exact() -> None:
    settlement = settled(f"""
        prices alliance 2026-01-01 redemption 999999.99999999
        a earn {10**18} on 2026-01-05
        a burn {10**18 - 1} at b on 2026-01-05
    """)
    (obligation,) = settlement.alliance.obligations
    # 99,999,999,999,999 x (10^18 - 1), in millionths of a cent.
    assert obligation.exact_minor == Decimal("99999999999998999900000000.000001")
    assert (obligation.amount_minor, obligation.remainder_minor) == (99999999999998999900000000, Decimal("0.000001"))


POOL_MONTH = """
    before
    a earn 10000 on 2025-12-10
    b earn 10000 on 2025-12-10
    during
    prices alliance 2026-01-01 issuance 0.012 redemption 0.009
    prices b 2026-01-01 issuance 0.02 redemption 0.01
    prices a-b 2026-01-01 redemption 0.0075
    a earn 1000 on 2026-01-05
    a earn_refunded 100 on 2025-12-10
    b earn 501 on 2026-01-05
    a burn 300 at b on 2025-12-10
    a burn 300 at b on 2026-01-20
    a burn 111 at a on 2026-01-20
    b burn 50 at c on 2026-01-20
    b burn_refunded 10 at c on 2025-12-20
"""


def test_in_a_pool_issuers_pay_for_what_they_issue_and_redeemers_are_paid() -> None:
    settlement = settled(POOL_MONTH, SettlementMethod.POOL)
    assert owed(settlement) == [
        # 1000 x 1.2 - 100 x 1.0 cents, the December price.
        "a pool 900 1100 0",
        # 501 x 2 cents.
        "b pool 501 1002 0",
        # Own points count: 111 x 0.9 cents.
        "pool a 111 100 -0.1",
        # 300 x 1.0, then at the pair's price 300 x 0.75 cents.
        "pool b 600 525 0",
        # 50 x 0.9 - 10 x 1.0 cents.
        "pool c 40 35 0",
    ]
    positions = {each.participant: each.net_minor for each in settlement.alliance.positions}
    assert positions == {A: -1000, B: -477, C: 35, D: 0, POOL: 1442}
    assert [(each.payer, each.payee, each.amount_minor) for each in settlement.alliance.payments] == [
        (A, POOL, 1000),
        (B, C, 35),
        (B, POOL, 442),
    ]


def test_in_a_pool_the_issuance_fee_is_for_points_that_did_not_come_back_unspent() -> None:
    settlement = settled(
        """
        before
        a earn 1000 on 2025-12-10
        during
        a debt_incurred 100 on 2025-12-10
        a earn_to_debt 40 on 2026-01-06
        b earn_to_creditor 30 at a on 2026-01-06
        a debt_reinstated 30 on 2026-01-06
        a expiry 200 on 2026-01-07
        a expiry_reversed 50 on 2025-12-10
        """,
        SettlementMethod.POOL,
    )
    # What a took back was spent or had expired, so it paid for it; b issued 30, which are redeemed at a.
    assert owed(settlement) == ["b pool 30 30 0", "pool a 30 30 0"]


def test_in_a_pool_no_merchant_gains_by_redeeming_its_own_points_and_refunding_the_earn() -> None:
    settlement = settled(
        """
        during
        a earn 1000000 on 2026-01-05
        a burn 1000000 at a on 2026-01-05
        a debt_incurred 1000000 on 2026-01-05
        """,
        SettlementMethod.POOL,
    )
    assert owed(settlement) == ["a pool 1000000 1000000 0", "pool a 1000000 1000000 0"]
