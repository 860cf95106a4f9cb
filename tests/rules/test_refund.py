"""Refunds: whole, in parts, of earns whose points are there, spent or expired, and of burns into their own lots."""

from tests.rules.script import play


def test_parts_of_an_earn_are_taken_back_until_nothing_remains() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 100
        a refund r1 C1 e1 30 -> accepted 30 available=70 owed=0
          earn_refunded C1 a 2027-01-31 30
        a refund r2 C1 e1 71 -> refund_exceeds_remaining 0 available=70
        a refund r3 C1 e1 -> accepted 70 available=0
          earn_refunded C1 a 2027-01-31 70
        a refund r4 C1 e1 -> already_refunded
        a refund r5 C1 e1 1 -> already_refunded
        a issued 0
    """)


def test_a_refund_is_priced_as_its_original() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 100
        at 2026-01-20
        b burn b1 C1 60
        at 2026-03-01
        b refund r1 C1 b1 10
          burn_refunded C1 a>b 2027-01-31 10
        a refund r1 C1 e1 100
          earn_refunded C1 a 2027-01-31 50
          debt_incurred C1 a 50 issued 2026-01
    """)


def test_a_burn_is_refunded_into_its_lots_the_last_taken_first() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 10
        at 2026-02-05
        b earn e1 C1 20
        at 2026-03-05
        a earn e2 C1 30
        c burn b1 C1 45
        C1 holds a 2027-03-31 15
        c refund r1 C1 b1 20 -> accepted 20 available=35
          burn_refunded C1 a>c 2027-03-31 15
          burn_refunded C1 b>c 2027-02-28 5
        c refund r2 C1 b1 16
          burn_refunded C1 b>c 2027-02-28 15
          burn_refunded C1 a>c 2027-01-31 1
        c refund r3 C1 b1
          burn_refunded C1 a>c 2027-01-31 9
        C1 holds a 2027-01-31 10, b 2027-02-28 20, a 2027-03-31 30
        a owes nothing | b owes nothing
    """)


def test_a_refunded_burn_never_outlives_its_lot() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 10; burn b1 C1 10
        at 2027-02-01
        a refund r1 C1 b1 -> accepted 10 available=0 owed=0
          burn_refunded C1 a>a 2027-01-31 10
        ops i1 expire C1 -> accepted expired=10
        a expired 10 | a owes nothing
    """)


def test_an_earn_is_taken_back_from_its_own_lot_before_the_issuers_others() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 10
        at 2026-02-05
        a all: earn e2 C1 20; refund r1 C1 e2 15
        C1 holds a 2027-01-31 10, a 2027-02-28 5
        a refund r2 C1 e1 4
        C1 holds a 2027-01-31 6, a 2027-02-28 5
        b burn b1 C1 8
        C1 holds a 2027-02-28 3
        a refund r3 C1 e1 5 -> accepted 5 available=0 owed=2
          earn_refunded C1 a 2027-02-28 3
          debt_incurred C1 a 2 issued 2026-01
    """)


def test_points_that_expired_are_not_taken_a_second_time_as_debt() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 100
        b burn b1 C1 30
        at 2027-02-01
        a refund r1 C1 e1 90 -> accepted 90 available=0 owed=20
          expiry C1 a 2027-01-31 70
          expiry_reversed C1 a 2027-01-31 70
          debt_incurred C1 a 20 issued 2026-01
        a expired 0 | a issued 10 | a owes b 30 | C1 owes a 20
        a refund r2 C1 e1 -> accepted 10 available=0 owed=30
          debt_incurred C1 a 10 issued 2026-01
    """)


def test_expired_points_stand_in_for_a_clawback_only_once() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 100; earn e2 C1 100
        b burn b1 C1 100
        at 2027-02-01
        a refund r1 C1 e1 -> accepted 100 owed=0
        a refund r2 C1 e2 -> accepted 100 owed=100
        a issued 0 | a expired 0 | a owes b 100
    """)


def test_an_original_of_another_merchant_is_unknown() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10
        b refund r1 C1 e1 -> unknown_original
        b earn e1 C1 5
        b refund r2 C1 e1 -> accepted 5 available=10
        a issued 10 | b issued 0
    """)


def test_a_refund_cannot_be_refunded_nor_refund_itself() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10; refund r1 C1 e1
        a refund r2 C1 r1 -> original_not_refundable
        a refund r3 C1 r3 -> unknown_original
        a refund r4 C1 r4 3 -> unknown_original
    """)


def test_an_unknown_card_is_told_before_the_original_is_looked_at() -> None:
    play("a refund r1 C9 e1 -> unknown_card")


def test_a_refund_that_would_overfill_the_card_is_refused() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 1000000000000; burn b1 C1 10; earn e2 C1 10
        a refund r1 C1 b1 -> balance_limit_exceeded 0 available=1000000000000
        a burn b2 C1 10
        a refund r2 C1 b1 -> accepted 10 available=1000000000000
    """)


def test_a_refund_that_would_owe_more_than_the_limit_is_refused() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 1000000000000; burn b1 C1 1000000000000
        a refund r1 C1 e1
        b all: earn e1 C1 1 -> accepted 1 owed=999999999999
        c open o2 C2
        c all: earn e1 C2 1000000000000; burn b1 C2 1000000000000; earn e2 C2 1; burn b2 C2 1
        c refund r1 C2 e1 -> accepted 1000000000000 owed=1000000000000
        c refund r2 C2 e2 -> balance_limit_exceeded 0 owed=1000000000000
    """)
