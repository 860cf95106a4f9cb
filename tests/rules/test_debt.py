"""Card debt: what a card owes for taken-back points that were spent, and everything that repays it."""

from tests.rules.script import play

IN_DEBT = """
    at 2026-01-05
    a all: open o1 C1; earn e1 C1 100
    b burn b1 C1 60
    at 2026-01-10
    a refund r1 C1 e1 -> accepted 100 available=0 owed=60
    C1 owes a 60 | a issued 0 | a owes b 60
"""


def test_points_the_creditor_issues_cancel_its_debt() -> None:
    play(
        """
        a earn e2 C1 50 -> accepted 50 available=0 owed=10
          earn_to_debt C1 a 50
        a earn e3 C1 30 -> accepted 30 available=20 owed=0
          earn_to_debt C1 a 10
          earn C1 a 2027-01-31 20
        a issued 80 | a owes b 60 | C1 owes nothing
        """,
        play(IN_DEBT),
    )


def test_points_of_another_issuer_count_as_redeemed_at_the_creditor() -> None:
    play(
        """
        c earn e1 C1 80 -> accepted 80 available=20 owed=0
          earn_to_creditor C1 c>a 60
          debt_reinstated C1 a 60
          earn C1 c 2027-01-31 20
        c issued 80 | c owes a 60 | a issued 60 | a owes b 60
        """,
        play(IN_DEBT),
    )


def test_a_refunded_burn_repays_the_issuers_own_debt() -> None:
    play(
        """
        at 2026-02-20
        b refund r1 C1 b1 25 -> accepted 25 available=0 owed=35
          burn_refunded C1 a>b 2027-01-31 25
          earn_refunded C1 a 2027-01-31 25
          debt_reinstated C1 a 25
        b refund r2 C1 b1 -> accepted 35 available=0 owed=0
        a issued 0 | a owes nothing | C1 holds nothing
        """,
        play(IN_DEBT),
    )


def test_a_refunded_burn_of_anothers_points_redeems_them_at_the_creditor() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 50
        b burn b1 C1 50
        c earn e1 C1 40
        d burn b1 C1 40
        c refund r1 C1 e1 -> accepted 40 available=0 owed=40
        b refund r1 C1 b1 -> accepted 50 available=10 owed=0
          burn_refunded C1 a>b 2027-01-31 50
          burn C1 a>c 2027-01-31 40
          debt_reinstated C1 c 40
        a owes c 40 | c owes d 40 | c issued 40 | C1 holds a 2027-01-31 10
    """)


def test_an_earn_repays_its_own_issuer_first_then_creditors_by_name() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 10
        b earn e1 C1 10
        c earn e1 C1 10
        d burn b1 C1 30
        a refund r1 C1 e1
        b refund r1 C1 e1
        c refund r1 C1 e1
        C1 owes a 10, b 10, c 10
        c earn e2 C1 25 -> accepted 25 available=0 owed=5
          earn_to_debt C1 c 10
          earn_to_creditor C1 c>a 10
          debt_reinstated C1 a 10
          earn_to_creditor C1 c>b 5
          debt_reinstated C1 b 5
        C1 owes b 5
    """)


def test_taking_back_an_earn_that_repaid_a_debt_moves_the_debt() -> None:
    play(
        """
        c earn e1 C1 80
        c refund r1 C1 e1 -> accepted 80 available=0 owed=60
          earn_refunded C1 c 2027-01-31 20
          debt_incurred C1 c 60
        c issued 0 | c owes a 60 | a issued 60 | C1 owes c 60
        """,
        play(IN_DEBT),
    )


def test_a_refunded_burn_repays_debt_even_from_a_lot_past_its_date() -> None:
    play(
        """
        at 2027-02-01
        b refund r1 C1 b1 -> accepted 60 available=0 owed=0
        ops i1 expire C1 -> accepted
        a issued 0 | a expired 0
        """,
        play(IN_DEBT),
    )


def test_the_order_of_two_full_refunds_does_not_matter() -> None:
    start = """
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 100
        b burn b1 C1 60
    """
    for refunds in ("a refund r1 C1 e1 | b refund r1 C1 b1", "b refund r1 C1 b1 | a refund r1 C1 e1"):
        play(f"{refunds} | a issued 0 | a owes nothing | C1 holds nothing | C1 owes nothing", play(start))


def test_other_issuers_points_on_the_card_repay_a_clawback_at_once() -> None:
    play("""
        at 2026-01-05
        a all: open o1 C1; earn e1 C1 100
        b earn e1 C1 70
        c burn b1 C1 100
        at 2026-01-10
        a refund r1 C1 e1 -> accepted 100 available=0 owed=30
          debt_incurred C1 a 100
          burn C1 b>a 2027-01-31 70
          debt_reinstated C1 a 70
        c burn b2 C1 1 -> insufficient_points 0 available=0 owed=30
        b owes a 70 | a owes c 100 | a issued 70 | b issued 70
    """)
