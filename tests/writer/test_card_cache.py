"""The cards the writer keeps in memory."""

from __future__ import annotations

import datetime

from clearing.model import CardToken, MerchantId, Points
from clearing.rules.card import Card, Lot, LotKey
from clearing.writer.card_cache import CardCache

LOT = LotKey(MerchantId("bakery"), datetime.date(2026, 1, 1), datetime.date(2027, 1, 31), "PTS")


def cards(*names: str, points: int = 1) -> dict[CardToken, Card]:
    return {CardToken(name): Card(CardToken(name), {LOT: Lot(Points(points))}) for name in names}


def test_cards_are_kept_in_their_newest_state() -> None:
    cache = CardCache()
    cache.keep(cards("a", "b"))
    newer = cards("a", points=2)
    cache.keep(newer)
    assert cache.known == cards("b") | newer


def test_where_they_hold_too_much_those_used_longest_ago_are_dropped() -> None:
    cache = CardCache(balances_max=6)  # each has one lot, and counts as two
    cache.keep(cards("a", "b", "c"))
    cache.keep(cards("a"))
    cache.keep(cards("d"))
    assert list(cache.known) == ["c", "a", "d"]
    cache.keep(cards("e", "f", "g", "h"))
    assert list(cache.known) == ["f", "g", "h"]


def test_a_card_of_many_lots_takes_the_room_of_many_cards() -> None:
    cache = CardCache(balances_max=6)
    cache.keep(cards("a", "b"))
    months = [datetime.date(2025, month, 1) for month in range(1, 5)]
    lots = {LOT._replace(issued_in=month): Lot(Points(1)) for month in months}
    rich = {CardToken("rich"): Card(CardToken("rich"), lots)}
    cache.keep(rich)
    assert cache.known == rich
    cache.keep({CardToken("rich"): Card(CardToken("rich"))})
    cache.keep(cards("a", "b"))
    assert list(cache.known) == ["rich", "a", "b"]


def test_nothing_is_known_once_it_is_cleared() -> None:
    cache = CardCache()
    cache.keep(cards("a"))
    cache.clear()
    assert not cache.known
