"""Terms: which prices points of which month have, and from when on they may be set."""

import datetime
from decimal import Decimal

import pytest

from clearing.model import MerchantId
from clearing.rules.terms import issuance_price, redemption_price
from tests.rules.script import play

# In the order of the columns: merchant, counterparty, first day, issuance, redemption. "-" is none.
SET = """
    at 2026-01-10
    ops i1 terms - - 2026-02-01 0.020 0.018
    ops i2 terms - - 2026-04-01 0.021 0.019
    ops i3 terms a - 2026-02-01 0.030 0.027
    ops i4 terms b - 2026-03-01 -     0.025
    ops i5 terms a b 2026-04-01 -     0.015
    ops i6 terms a b 2026-05-01 -     0.016
"""

PRICES = """
# issued in  issuer redeemer issuance redemption
2025-12-01   c      d        0.0100   0.0090
2026-01-01   c      d        0.0100   0.0090
2026-02-01   c      d        0.020    0.018
2026-03-01   c      d        0.020    0.018
2026-04-01   c      d        0.021    0.019
2026-01-01   a      c        0.0100   0.0090
2026-02-01   a      c        0.030    0.018
2026-01-01   c      a        0.0100   0.0090
2026-02-01   c      a        0.020    0.027
2026-02-01   c      b        0.020    0.018
2026-03-01   c      b        0.020    0.025
2026-03-01   b      c        0.020    0.018
2026-03-01   a      b        0.030    0.025
2026-04-01   a      b        0.030    0.015
2026-04-01   b      a        0.021    0.027
2026-05-01   a      b        0.030    0.016
2099-12-01   a      b        0.030    0.016
"""

PRICE_ROWS = [line.split() for line in PRICES.strip().splitlines()[1:]]


@pytest.mark.parametrize(("month", "issuer", "redeemer", "issuance", "redemption"), PRICE_ROWS)
def test_the_narrowest_terms_in_force_give_the_price(
    month: str, issuer: str, redeemer: str, issuance: str, redemption: str
) -> None:
    directory = play(SET).directory
    issued_in = datetime.date.fromisoformat(month)
    assert str(issuance_price(directory, MerchantId(issuer), issued_in)) == issuance
    assert str(redemption_price(directory, MerchantId(issuer), MerchantId(redeemer), issued_in)) == redemption


def test_terms_begin_with_a_later_month_also_a_merchants_or_pairs_first() -> None:
    play("""
        at 2026-01-10
        ops i1 terms - - 2025-12-01 0.02 0.018 -> terms_backdated
        ops i2 terms - - 2026-01-01 0.02 0.018 -> terms_backdated
        ops i3 terms - - 2026-02-01 0.02 0.018
        ops i4 terms a - 2026-01-01 0.02 0.018 -> terms_backdated
        ops i5 terms a - 2026-02-01 0.02 0.018
        ops i6 terms a - 2026-02-01 0.03 0.018
        ops i7 terms a b 2026-01-01 - 0.018 -> terms_backdated
        ops i8 terms a b 2026-02-01 - 0.018
        ops i9 terms z - 2026-02-01 0.02 0.018 -> unknown_merchant
        ops i10 terms a z 2026-02-01 - 0.018 -> unknown_merchant
    """)


def test_today_is_the_alliances_local_day() -> None:
    play("at 2026-01-31T22:59:59Z | ops i1 terms - - 2026-02-01 0.02 0.018", time_zone="Europe/Berlin")
    play("at 2026-01-31T23:00:00Z | ops i1 terms - - 2026-02-01 0.02 0.018 -> terms_backdated")


def test_terms_to_come_are_replaced_by_others_of_the_same_month() -> None:
    directory = play("""
        at 2026-01-10
        ops i1 terms - - 2026-03-01 0.02 0.018
        ops i2 terms - - 2026-02-01 0.04 0.030
        ops i3 terms - - 2026-03-01 0.03 0.020
    """).directory
    assert [prices.effective_from.month for prices in directory.terms[None, None]] == [2, 3]
    assert issuance_price(directory, MerchantId("a"), datetime.date(2026, 3, 1)) == Decimal("0.03")
    assert issuance_price(directory, MerchantId("a"), datetime.date(2026, 2, 1)) == Decimal("0.04")
