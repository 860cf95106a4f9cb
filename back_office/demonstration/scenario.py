"""What happens in the demonstration: who buys, redeems, brings something back, and tries what cannot be done.

Simulated by a seeded generator, so that every run tells the same story; only keys differ.
"""

from __future__ import annotations

import datetime
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from clearing.card_token import token_of_bytes
from clearing.model import CardToken
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client import transactions
from merchant_gateway.client.transaction_receipt import TransactionReceipt

TIME_ZONE = "Europe/Berlin"
FIRST_DAY = datetime.date(2026, 1, 1)
LAST_DAY = datetime.date(2026, 3, 31)
CUSTOMERS = 240
POINTS_PER_EURO = 1


@dataclass(frozen=True, slots=True)
class Shop:
    """A merchant of the demonstration:

    how often it is visited, what is spent there, and how gladly points are redeemed.
    """

    merchant: str
    legal_name: str
    visits_weight: int
    euros_least: int
    euros_most: int
    redeems_weight: int


SHOPS = (
    Shop("bakery", "Corner Bakery Cooperative", 24, 2, 18, 1),
    Shop("bookshop", "Riverside Books Ltd", 6, 8, 60, 3),
    Shop("cafe", "Station Coffee Ltd", 18, 3, 16, 4),
    Shop("cinema", "Capitol Cinemas plc", 5, 9, 45, 9),
    Shop("florist", "Market Square Flowers Ltd", 4, 8, 50, 1),
    Shop("fuel", "Ring Road Fuel Stations plc", 10, 25, 95, 2),
    Shop("grocer", "Greenfield Groceries plc", 30, 8, 140, 3),
    Shop("hotel", "Harbour Hotels plc", 1, 90, 420, 6),
    Shop("pharmacy", "Bridge Street Pharmacy Ltd", 9, 5, 55, 2),
    Shop("restaurant", "Old Mill Restaurants Ltd", 7, 18, 110, 5),
    Shop("shoes", "Ten Toes Shoes Ltd", 3, 35, 160, 2),
    Shop("toys", "Blue Balloon Toys Ltd", 3, 8, 80, 2),
)


@dataclass(frozen=True, slots=True)
class Till:
    """What one merchant presents at the end of one day."""

    merchant: str
    presented_at: datetime.datetime
    transactions: tuple[Transaction, ...]
    atomic: bool = False


class Scenario:
    """Makes the days' transactions, and learns balances from their receipts as tills do."""

    def __init__(self, seed: int = 20260101) -> None:
        """The same seed makes the same days, as long as the receipts are the same."""
        self._random = random.Random(seed)  # noqa: S311 - a story to be told again, not a secret
        self._cards = [token_of_bytes(self._random.randbytes(16)) for _ in range(CUSTOMERS)]
        self._opened: set[CardToken] = set()
        self._points_available: dict[str, int] = defaultdict(int)
        self._refundable: dict[str, list[Transaction]] = defaultdict(list)
        self._number = 0

    def days(self) -> Iterator[datetime.date]:
        """All days of the demonstration."""
        for offset in range((LAST_DAY - FIRST_DAY).days + 1):
            yield FIRST_DAY + datetime.timedelta(days=offset)

    def tills_of(self, day: datetime.date) -> Iterator[Till]:
        """What the merchants present at the end of the day, in the order of presentation."""
        sales: dict[str, list[Transaction]] = {shop.merchant: [] for shop in SHOPS}
        for card in self._random.sample(self._cards, CUSTOMERS // 3):
            self._visit(card, day, sales)
        for shop in SHOPS:
            self._bring_back(shop, day, sales[shop.merchant])
            self._try_what_cannot_be_done(shop, day, sales[shop.merchant])
        for number, shop in enumerate(SHOPS):
            if sales[shop.merchant]:
                evening = _local(day, 22 * 60 + number)
                yield Till(shop.merchant, evening, tuple(sales[shop.merchant]), atomic=False)
        if day.day == 15:
            yield self._voucher_that_fails(day)

    def learn(self, day_transactions: Iterable[Transaction], receipts: Iterable[TransactionReceipt]) -> None:
        """Note what the cards can spend, and what could be brought back later."""
        for transaction, receipt in zip(day_transactions, receipts, strict=True):
            if not receipt.is_accepted:
                continue
            self._points_available[transaction.card_token] = receipt.points_available
            if transaction.WhichOneof("kind") in ("earn", "burn"):
                self._refundable[receipt.merchant].append(transaction)

    def _visit(self, card: CardToken, day: datetime.date, sales: dict[str, list[Transaction]]) -> None:
        shop = self._random.choices(SHOPS, [shop.visits_weight for shop in SHOPS])[0]
        when = self._opening_hours(day)
        till = sales[shop.merchant]
        if card not in self._opened:
            self._opened.add(card)
            till.append(transactions.open_card(self._reference("open"), card, _store(shop), when))
        cents = self._random.randint(shop.euros_least * 100, shop.euros_most * 100)
        points = max(1, cents * POINTS_PER_EURO // 100)
        till.append(
            transactions.earn(self._reference("sale"), card, _store(shop), points, when, purchase_amount_minor=cents)
        )
        spendable = self._points_available[card]
        if spendable >= 150 and self._random.random() < 0.25:
            redeemed_at = self._random.choices(SHOPS, [shop.redeems_weight for shop in SHOPS])[0]
            burned = self._random.randrange(100, spendable + 1, 10)
            self._points_available[card] -= burned
            sales[redeemed_at.merchant].append(
                transactions.burn(self._reference("reward"), card, _store(redeemed_at), burned, when)
            )

    def _bring_back(self, shop: Shop, day: datetime.date, till: list[Transaction]) -> None:
        """One sale or reward in about forty is taken back, half of them in part."""
        candidates = self._refundable[shop.merchant]
        if not candidates or self._random.random() > 0.12:
            return
        original = candidates.pop(self._random.randrange(len(candidates)))
        points = original.earn.points or original.burn.points
        part = self._random.randint(1, points) if self._random.random() < 0.5 else None
        till.append(
            transactions.refund(
                self._reference("return"),
                original.card_token,
                _store(shop),
                original.reference,
                self._opening_hours(day),
                points=part,
            )
        )

    def _try_what_cannot_be_done(self, shop: Shop, day: datetime.date, till: list[Transaction]) -> None:
        """Mistakes and worse, as tills see them: each is refused with its reason, and changes nothing."""
        if self._random.random() > 0.06:
            return
        when, store, card = self._opening_hours(day), _store(shop), self._random.choice(self._cards)
        stranger = token_of_bytes(self._random.randbytes(16))
        another_store = _store(self._random.choice([other for other in SHOPS if other is not shop]))
        mistakes = (
            transactions.burn(self._reference("reward"), card, store, 500_000, when),
            transactions.earn(self._reference("sale"), stranger, store, 10, when),
            transactions.earn(self._reference("sale"), card, another_store, 10, when),
            transactions.refund(self._reference("return"), card, store, "sale-0", when),
            transactions.earn(self._reference("sale"), card, store, 10, when - datetime.timedelta(days=40)),
        )
        till.append(self._random.choice(mistakes))

    def _voucher_that_fails(self, day: datetime.date) -> Till:
        """An atomic presentment: buying a voucher with points and cash, where the points do not suffice."""
        shop, card, when = SHOPS[3], self._cards[0], self._opening_hours(day)
        return Till(
            shop.merchant,
            _local(day, 23 * 60),
            (
                transactions.earn(self._reference("sale"), card, _store(shop), 20, when),
                transactions.burn(self._reference("reward"), card, _store(shop), 900_000, when),
            ),
            atomic=True,
        )

    def _opening_hours(self, day: datetime.date) -> datetime.datetime:
        return _local(day, self._random.randint(8 * 60, 21 * 60))

    def _reference(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"


def _store(shop: Shop) -> str:
    return f"{shop.merchant}-1"


def _local(day: datetime.date, minutes: int) -> datetime.datetime:
    midnight = datetime.datetime.combine(day, datetime.time(), ZoneInfo(TIME_ZONE))
    return midnight + datetime.timedelta(minutes=minutes)
