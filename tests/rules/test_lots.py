"""Earn and burn: lots, their expiry dates, and which of them a burn takes."""

import pytest

from clearing.model import Instant
from tests.rules.script import play, time_in


def test_points_of_one_issuer_and_month_are_one_lot() -> None:
    play("""
        at 2026-01-05
        a open o1 C1
        a earn e1 C1 100
          earn C1 a 2027-01-31 100
        at 2026-01-31T23:59:59
        a earn e2 C1 10
        b earn e1 C1 1
        at 2026-02-01T00:00:00
        a earn e3 C1 7 -> accepted 7 available=118 owed=0
        C1 holds a 2027-01-31 110, b 2027-01-31 1, a 2027-02-28 7
        a issued 117
    """)


def test_burn_takes_the_earliest_expiring_lot_first_then_by_issuer() -> None:
    play("""
        at 2026-02-05
        b open o1 C1
        b earn e1 C1 10
        at 2026-03-05
        c earn e1 C1 10
        a earn e1 C1 10
        d burn b1 C1 25 -> accepted 25 available=5
          burn C1 b>d 2027-02-28 10
          burn C1 a>d 2027-03-31 10
          burn C1 c>d 2027-03-31 5
        C1 holds c 2027-03-31 5
        a owes d 10 | b owes d 10 | c owes d 5
    """)


def test_a_merchant_may_redeem_its_own_points() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10; burn b1 C1 10
        a owes a 10 | C1 holds nothing
    """)


def test_a_refused_burn_moves_nothing_and_tells_the_balance() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10
        b burn b1 C1 11 -> insufficient_points 0 available=10 owed=0
          nothing
        C1 holds a 2027-01-31 10
    """)


EXPIRIES = """
# zone               lifetime earned (absolute)    last day    spendable until before
Europe/Berlin        12       2026-01-05T11:00:00Z 2027-01-31  2027-01-31T23:00:00Z
Europe/Berlin        1        2026-01-31T22:59:59Z 2026-02-28  2026-02-28T23:00:00Z
Europe/Berlin        1        2026-01-31T23:00:00Z 2026-03-31  2026-03-31T22:00:00Z
Europe/Berlin        1        2028-01-31T12:00:00Z 2028-02-29  2028-02-29T23:00:00Z
Europe/Berlin        24       2026-02-28T12:00:00Z 2028-02-29  2028-02-29T23:00:00Z
Europe/Berlin        12       2028-02-29T12:00:00Z 2029-02-28  2029-02-28T23:00:00Z
Europe/Berlin        11       2026-01-31T12:00:00Z 2026-12-31  2026-12-31T23:00:00Z
Europe/Berlin        12       2026-12-31T12:00:00Z 2027-12-31  2027-12-31T23:00:00Z
Europe/Berlin        120      2026-02-01T12:00:00Z 2036-02-29  2036-02-29T23:00:00Z
UTC                  3        2099-11-30T12:00:00Z 2100-02-28  2100-03-01T00:00:00Z
America/New_York     1        2026-02-01T04:59:59Z 2026-02-28  2026-03-01T05:00:00Z
America/New_York     1        2026-02-01T05:00:00Z 2026-03-31  2026-04-01T04:00:00Z
Pacific/Kiritimati   1        2026-01-31T10:00:00Z 2026-03-31  2026-03-31T10:00:00Z
Asia/Kathmandu       1        2026-01-31T18:14:59Z 2026-02-28  2026-02-28T18:15:00Z
Asia/Kathmandu       1        2026-01-31T18:15:00Z 2026-03-31  2026-03-31T18:15:00Z
Africa/Monrovia      1        2026-01-31T23:59:59Z 2026-02-28  2026-03-01T00:00:00Z
"""

EXPIRY_ROWS = [line.split() for line in EXPIRIES.strip().splitlines()[1:]]


@pytest.mark.parametrize(("zone", "lifetime", "earned", "last_day", "until"), EXPIRY_ROWS)
def test_a_lot_can_be_spent_to_the_end_of_the_last_day_of_its_month(
    zone: str, lifetime: str, earned: str, last_day: str, until: str
) -> None:
    world = play(
        f"""
        at {earned}
        a all: open o1 C1; earn e1 C1 10
        C1 holds a {last_day} 10
        """,
        time_zone=zone,
        lot_lifetime_months=int(lifetime),
    )
    end = time_in(until, zone)
    world.now = Instant(end - 1)
    play("b burn b1 C1 4 -> accepted 4 available=6", world)
    world.now = end
    play(
        f"""
        C1 available 0
        b burn b2 C1 1 -> insufficient_points available=0
        ops i1 expire C1 -> accepted expired=6
          expiry C1 a {last_day} 6
        a expired 6 | C1 holds nothing
        """,
        world,
    )


def test_expiry_is_booked_when_the_card_is_next_touched() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 10
        b earn e1 C1 5
        at 2026-02-05
        a earn e2 C1 20
        at 2027-02-01
        c burn b1 C1 25 -> insufficient_points available=20
          nothing
        c burn b2 C1 15 -> accepted 15 available=5
          expiry C1 a 2027-01-31 10
          expiry C1 b 2027-01-31 5
          burn C1 a>c 2027-02-28 15
        at 2027-03-01
        c earn e1 C1 1 -> accepted 1 available=1
          expiry C1 a 2027-02-28 5
          earn C1 c 2028-03-31 1
        a expired 15 | b expired 5
    """)


def test_expired_points_take_no_room_on_a_full_card() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 1000000000000
        at 2027-02-01
        a earn e2 C1 1000000000000 -> accepted 1000000000000 available=1000000000000
    """)


def test_points_that_repay_a_debt_take_no_room_on_a_full_card() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10
        b burn b1 C1 10
        a refund r1 C1 e1
        b earn e1 C1 1000000000010 -> accepted 1000000000010 available=1000000000000 owed=0
        b earn e2 C1 1 -> balance_limit_exceeded 0 available=1000000000000
    """)


def test_expire_books_past_lots_only_and_all_or_nothing() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; open o2 C2; earn e1 C1 10; earn e2 C2 5
        at 2026-02-05
        a earn e3 C1 3
        at 2027-02-01
        ops i1 expire C1 C9 -> unknown_card
          nothing
        ops i2 expire C1 C2 C1 -> accepted expired=15
          expiry C1 a 2027-01-31 10
          expiry C2 a 2027-01-31 5
        C1 holds a 2027-02-28 3
        ops i3 expire C1 C2 -> accepted
          nothing
        ops i2 again -> already decided 4
    """)
