"""What a card keeps beside its lots, and the short ways it takes, against their plain definitions."""

from __future__ import annotations

import copy
import datetime
import pickle

from hypothesis import given
from hypothesis import strategies as st

from clearing.model import CardToken, MerchantId, Points
from clearing.rules.burn import burn
from clearing.rules.card import NEVER, Card, Lot, LotKey, Taken
from clearing.rules.earn import earn
from clearing.rules.effect import Effect
from clearing.rules.expiry import expire_lots
from tests.rules.script import card

TOKEN = card("C1")
DATES = [datetime.date(2026, month, 28) for month in range(1, 7)]
MONTHS = [datetime.date(2025, month, 1) for month in (3, 4)]
KEYS = [
    LotKey(MerchantId(issuer), month, date, "PTS") for issuer in ("a", "b", "c") for month in MONTHS for date in DATES
]

amounts = st.integers(1, 30).map(Points)
days = st.sampled_from([date + datetime.timedelta(days=shift) for date in DATES for shift in (-1, 0, 1)])
filled = st.builds(Lot, amounts, st.sampled_from([0, 0, 5]).map(Points))
booked = st.builds(Lot, st.just(Points(0)), amounts)
debts = st.dictionaries(st.sampled_from([MerchantId("a"), MerchantId("b")]), amounts, max_size=2)
lots = st.dictionaries(st.sampled_from(KEYS), filled | booked, max_size=12)
cards = st.tuples(lots, debts).map(lambda balance: Card(TOKEN, *balance))
merchants = st.sampled_from([MerchantId("a"), MerchantId("b"), MerchantId("c")])


def counted(each: Card) -> tuple[int, datetime.date]:
    """Points and first expiry, from the lots alone."""
    dates = [key.expires_on for key, lot in each.lots.items() if lot.points]
    return sum(lot.points for lot in each.lots.values()), min(dates, default=NEVER)


def require_kept_right(each: Card) -> None:
    assert (each.points_in_lots, each.first_expiry) == counted(each)
    assert each == Card(each.token, each.lots, each.debts)
    assert all(lot != Lot(Points(0)) for lot in each.lots.values())


@given(cards, st.sampled_from(KEYS), filled | booked | st.just(Lot(Points(0))))
def test_a_lot_put_in_place_changes_what_follows_from_it_and_nothing_else(before: Card, key: LotKey, lot: Lot) -> None:
    lots_before = dict(before.lots)
    after = before.with_lot(key, lot)
    assert before.lots == lots_before, "the card it was made from stays"
    require_kept_right(after)
    assert after.debts == before.debts
    assert after.lots.get(key, Lot(Points(0))) == lot
    assert {**after.lots, key: lot} == {**lots_before, key: lot}


@given(cards, st.lists(st.tuples(st.sampled_from(KEYS), st.integers(-30, 30)), max_size=12))
def test_what_is_kept_stays_right_through_any_changes(each: Card, changes: list[tuple[LotKey, int]]) -> None:
    for key, points in changes:
        held = each.lots.get(key, Lot(Points(0))).points
        change = max(points, -held)
        each = each.with_points_added(key, change).with_debt_added(key.issuer, abs(points))
        require_kept_right(each)
        assert each.lots.get(key, Lot(Points(0))).points == held + change


@given(cards, days)
def test_points_are_available_to_the_end_of_their_day(each: Card, today: datetime.date) -> None:
    assert each.points_available(today) == sum(lot.points for key, lot in each.lots.items() if key.expires_on >= today)


@given(cards, days, st.integers(1, 200))
def test_the_earliest_points_are_taken_in_order_of_date_issuer_and_month_of_issue(
    each: Card, today: datetime.date, asked: int
) -> None:
    expected: list[Taken] = []
    left = asked
    for key in sorted(each.lots, key=lambda key: (key.expires_on, key.issuer, key.issued_in)):
        share = min(left, each.lots[key].points)
        if key.expires_on >= today and share:
            expected.append(Taken(key, Points(share)))
            left -= share
    assert each.take_earliest(asked, today) == expected


@given(cards, days)
def test_expiry_books_exactly_the_lots_past_their_date(before: Card, today: datetime.date) -> None:
    after, postings = expire_lots(before, today)
    require_kept_right(after)
    past = {key: lot for key, lot in before.lots.items() if key.expires_on < today and lot.points}
    assert {
        LotKey(each.issuer, each.issued_in, each.expires_on or NEVER, each.unit): each.points for each in postings
    } == {key: lot.points for key, lot in past.items()}
    assert after.points_in_lots == before.points_in_lots - sum(lot.points for lot in past.values())
    assert after.first_expiry >= today


@given(cards, st.lists(st.tuples(st.booleans(), merchants, amounts, st.integers(0, 40)), max_size=10))
def test_what_is_kept_stays_right_through_earns_and_burns(
    each: Card, wishes: list[tuple[bool, MerchantId, Points, int]]
) -> None:
    today = DATES[0]
    for is_earn, merchant, points, days_later in wishes:
        today += datetime.timedelta(days=days_later)
        effect = earn(each, merchant, points, today, 2, "PTS") if is_earn else burn(each, merchant, points, today)
        if isinstance(effect, Effect):
            each = effect.card
            require_kept_right(each)


@given(cards)
def test_a_copy_is_counted_anew_and_comes_out_the_same(each: Card) -> None:
    assert copy.deepcopy(each) == each
    assert pickle.loads(pickle.dumps(each)) == each


def test_a_card_without_points_never_expires() -> None:
    empty = Card(CardToken("C9"))
    assert (empty.lots, empty.debts, empty.points_in_lots, empty.first_expiry) == ({}, {}, 0, NEVER)
    assert empty.points_available(NEVER) == 0
