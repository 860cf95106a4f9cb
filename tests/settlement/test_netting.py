"""Netting: positions sum to zero, payments settle them exactly, and there are as few as there can be."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.model import MerchantId, Payment
from settlement.v1.netting import EXACT_SEARCH_MAX, fewest_payments


def named(amounts: list[int]) -> dict[MerchantId, int]:
    return {MerchantId(f"m{number:02d}"): amount for number, amount in enumerate(amounts)}


def closed(amounts: list[int]) -> dict[MerchantId, int]:
    """Positions of these amounts and one more that makes their sum zero."""
    return named([*amounts, -sum(amounts)])


def most_groups(amounts: tuple[int, ...]) -> int:
    """By trying everything: into how many groups that sum to zero can the amounts be split?"""
    if not amounts:
        return 0
    first, rest = amounts[0], amounts[1:]
    best = 0
    for size in range(len(rest) + 1):
        for places in combinations(range(len(rest)), size):
            if first + sum(rest[place] for place in places) == 0:
                left = tuple(amount for place, amount in enumerate(rest) if place not in places)
                best = max(best, 1 + most_groups(left))
    return best


def check_settles(positions: dict[MerchantId, int], payments: tuple[Payment, ...]) -> None:
    left = dict(positions)
    for payment in payments:
        assert payment.amount_minor >= 1
        assert payment.payer != payment.payee
        left[payment.payer] += payment.amount_minor
        left[payment.payee] -= payment.amount_minor
    assert set(left.values()) <= {0}
    assert list(payments) == sorted(payments)
    # Who pays is never paid: money does not pass through anybody.
    assert not {payment.payer for payment in payments} & {payment.payee for payment in payments}


@given(st.lists(st.integers(-12, 12), max_size=8).map(closed))
def test_payments_settle_exactly_and_are_as_few_as_by_trying_everything(positions: dict[MerchantId, int]) -> None:
    payments = fewest_payments(positions)
    check_settles(positions, payments)
    not_zero = tuple(amount for amount in positions.values() if amount)
    assert len(payments) == len(not_zero) - most_groups(not_zero)


@settings(max_examples=50)
@given(st.lists(st.integers(-(10**15), 10**15), max_size=60).map(closed))
def test_there_are_always_fewer_payments_than_positions(positions: dict[MerchantId, int]) -> None:
    payments = fewest_payments(positions)
    check_settles(positions, payments)
    assert len(payments) <= max(0, sum(amount != 0 for amount in positions.values()) - 1)


@given(st.lists(st.integers(-9, 9), max_size=10).map(closed), st.randoms(use_true_random=False))
def test_the_order_of_the_positions_changes_nothing(positions: dict[MerchantId, int], order: random.Random) -> None:
    items = list(positions.items())
    order.shuffle(items)
    assert fewest_payments(dict(items)) == fewest_payments(positions)


def test_no_positions_need_no_payments() -> None:
    assert fewest_payments({}) == fewest_payments(named([0, 0])) == ()


def test_exactly_opposite_positions_settle_with_each_other() -> None:
    positions = named([-500, 300, 500, -300])
    assert fewest_payments(positions) == (
        Payment(MerchantId("m00"), MerchantId("m02"), 500),
        Payment(MerchantId("m03"), MerchantId("m01"), 300),
    )


def test_groups_are_found_that_paying_the_largest_first_would_miss() -> None:
    # 9 = 5 + 4 and 8 = 6 + 2: four payments; the largest first would need five.
    positions = named([9, 8, -6, -5, -4, -2])
    payments = fewest_payments(positions)
    check_settles(positions, payments)
    assert len(payments) == 4


def test_positions_that_do_not_sum_to_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to zero"):
        fewest_payments(named([1, 2]))


def test_the_complete_search_comes_to_an_end_at_its_largest() -> None:
    # Groups of three without opposite pairs: one pays what two receive.
    sizes = [7**step for step in range(1, EXACT_SEARCH_MAX // 3 + 1)]
    positions = named([amount for size in sizes for amount in (-2 * size, size - 1, size + 1)])
    assert len(positions) == EXACT_SEARCH_MAX
    payments = fewest_payments(positions)
    check_settles(positions, payments)
    assert len(payments) == 2 * len(sizes)


def test_opposite_positions_are_paired_however_many_there_are() -> None:
    pairs = [sign * (1000 + 7 * number) for number in range(EXACT_SEARCH_MAX) for sign in (1, -1)]
    # With the largest first, who pays 5000 would pay those who are paid by somebody exactly opposite.
    positions = named([*pairs, -5000, *[500] * 10])
    payments = fewest_payments(positions)
    check_settles(positions, payments)
    assert len(payments) == EXACT_SEARCH_MAX + 10


def test_more_positions_than_can_be_searched_still_pair_and_settle() -> None:
    amounts = [1000 + 7 * number for number in range(EXACT_SEARCH_MAX + 4)]
    positions = named([*amounts, 5, -5, -sum(amounts)])
    payments = fewest_payments(positions)
    check_settles(positions, payments)
    assert len(payments) == len(amounts) + 1
