"""Presentments: guards, order, all-or-none, and references that are decided once and for all."""

import pytest

from tests.rules.script import play

TIMES = """
0s        accepted
300s      accepted
300000001u occurred_in_future
301s      occurred_in_future
-30d      accepted
-2592000000001u late_presentment
-31d      late_presentment
"""


@pytest.mark.parametrize(("occurred", "outcome"), [line.split() for line in TIMES.strip().splitlines()])
def test_a_transaction_is_presented_in_time(occurred: str, outcome: str) -> None:
    play(f"at 2026-06-01 | a open o1 C1 occurred={occurred} -> {outcome}")


def test_the_alliances_unit_may_be_named() -> None:
    play("a all: open o1 C1 unit=PTS; earn e1 C1 5 unit=PTS; earn e2 C1 5 unit=pts -> accepted; accepted; unknown_unit")


def test_guards_come_in_the_order_of_unit_store_time_card() -> None:
    play("""
        a earn e1 C9 5 unit=EUR store=a-9 occurred=1d -> unknown_unit
        a earn e2 C9 5 store=a-9 occurred=1d -> unknown_store
        a earn e3 C9 5 store=b-1 occurred=1d -> store_of_another_merchant
        a earn e4 C9 5 occurred=1d -> occurred_in_future
        a earn e5 C9 5 -> unknown_card
    """)


def test_each_transaction_of_a_presentment_stands_for_itself_and_sees_those_before() -> None:
    play("""
        a all: earn e1 C1 5; open o1 C1; earn e2 C1 5; burn b1 C1 6; burn b2 C1 5 -> unknown_card; accepted; \
accepted 5 available=5; insufficient_points 0 available=5; accepted 5 available=0
        C1 holds nothing | a owes a 5
    """)


def test_an_atomic_presentment_is_accepted_whole() -> None:
    play("""
        a atomic: open o1 C1; earn e1 C1 10; burn b1 C1 4; refund r1 C1 e1 3
        C1 holds a 2027-01-31 3
    """)


def test_an_atomic_presentment_with_one_refusal_moves_nothing() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10
        a atomic: burn b1 C1 4; refund r1 C1 e1; open o2 C2; burn b2 C1 99 -> \
atomic_aborted 0 available=10; atomic_aborted 0 available=10; atomic_aborted; insufficient_points 0 available=10
          nothing
        C1 holds a 2027-01-31 10 | C1 owes nothing | C2 unknown
        a refund r2 C1 e1 -> accepted 10
    """)


def test_an_aborted_reference_is_final() -> None:
    play("""
        a open o1 C1
        a atomic: earn e1 C1 10; burn b1 C1 99 -> atomic_aborted; insufficient_points
        a again e1 b1 -> already decided 2
        a again e1 -> already decided 2
        a earn e1 C1 11 -> reference_reused
        a refund r1 C1 e1 -> original_not_accepted
        C1 holds nothing
    """)


def test_a_reused_reference_aborts_an_atomic_presentment() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10
        a atomic: earn e2 C1 1; earn e1 C1 11 -> atomic_aborted; reference_reused
        a atomic: earn e3 C1 1; earn e3 C1 2 -> atomic_aborted; reference_reused
        C1 available 10
    """)


def test_an_earlier_acceptance_does_not_abort_an_atomic_presentment_and_an_earlier_refusal_does() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10; burn b1 C1 99 -> accepted; accepted; insufficient_points
        a atomic: earn e1 C1 10; earn e2 C1 1 -> accepted 10 original=1; accepted 1
        a atomic: earn e3 C1 1; burn b1 C1 99 -> atomic_aborted; insufficient_points original=1
        a atomic: earn e1 C1 10; burn b2 C1 99 -> accepted 10 original=1; insufficient_points
        C1 available 11
    """)


def test_the_same_presentment_again_is_answered_by_its_entry() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10
        b burn b1 C1 10
        at 2026-08-01
        a again o1 e1 -> already decided 1
        a again e1 -> already decided 1
        b again b1 -> already decided 2
    """)


def test_a_refusal_stays_even_when_points_have_arrived() -> None:
    play("""
        a open o1 C1
        b burn b1 C1 10 -> insufficient_points
        a earn e1 C1 10
        b again b1 -> already decided 2
        C1 available 10
    """)


def test_content_of_several_entries_is_answered_each_with_its_original() -> None:
    play("""
        a open o1 C1
        a earn e1 C1 10
        a burn b1 C1 4
        a again e1 b1 -> accepted 10 available=10 original=2; accepted 4 available=6 original=3
          nothing
        a all: earn e1 C1 10 occurred=-1s; earn e2 C1 1 -> reference_reused 0 available=0; accepted 1 available=7
        C1 available 7
    """)


def test_a_duplicate_inside_a_presentment_is_the_first_again() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10; earn e1 C1 10; earn e1 C1 9 -> \
accepted; accepted 10; accepted 10 original=1; reference_reused
        C1 available 10
        a atomic: earn e2 C1 1; earn e2 C1 1 -> accepted 1; accepted 1 original=2
        a atomic: earn e3 C1 1; earn e3 C1 1; burn b1 C1 99 -> \
atomic_aborted; atomic_aborted original=3; insufficient_points
        C1 available 11
    """)


def test_a_reused_reference_leaves_the_first_content_in_force() -> None:
    play("""
        a all: open o1 C1; earn e1 C1 10
        a earn e1 C1 500 -> reference_reused
        a again e1 -> already decided 1
    """)


def test_references_are_each_merchants_own() -> None:
    play("""
        a all: open x C1; earn y C1 10
        b all: earn x C1 10; burn y C1 5
        C1 available 15
    """)
