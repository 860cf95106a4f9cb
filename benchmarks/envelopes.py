"""Calls made ready before the load: presentments of random earns and burns, signed as merchants' systems sign."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.workload import (
    BURN_POINTS_MAX,
    BURN_SHARE,
    EARN_POINTS_MAX,
    FUNDED_AT,
    FUNDING_POINTS,
    SIGNED_BATCHES,
    Member,
    Population,
    Stock,
)
from clearing.calendar import moment_of
from clearing.card_token import token_of_bytes
from clearing.model import MICROSECONDS_PER_SECOND, CardToken, Instant
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2 import SubmitRequest
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client import transactions
from merchant_gateway.client.merchant_client import sign_presentment

CARDS_SEED = 20260101
_MILLISECOND = MICROSECONDS_PER_SECOND // 1_000


@dataclass(slots=True)
class CallMaker:
    """Makes one client process's calls. References never repeat; the random choices do, from run to run."""

    population: Population
    process: int
    """Which of the ``processes``, from 0."""
    processes: int
    _random: random.Random = field(init=False)
    _cards: list[CardToken] = field(init=False)
    _keys: list[PrivateKey] = field(init=False)
    _number: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        """Every process knows all cards."""
        self._random = random.Random(CARDS_SEED)  # noqa: S311 - the load is the same each time, and no secret
        self._cards = [token_of_bytes(self._random.randbytes(16)) for _ in range(self.population.cards)]
        self._random.seed(CARDS_SEED + 1 + self.process)
        self._keys = [PrivateKey(member.seed) for member in self.population.members]

    def funding(self) -> list[bytes]:
        """Calls that open this process's share of the cards, and give each of them points of some merchant."""
        cards = self._cards[self.process :: self.processes]
        half_envelope = SIGNED_BATCHES.transactions_per_envelope // 2
        envelopes = [
            self._funding_envelope(cards[start : start + half_envelope])
            for start in range(0, len(cards), half_envelope)
        ]
        size = SIGNED_BATCHES.envelopes_per_call
        return [_call(envelopes[start : start + size]) for start in range(0, len(envelopes), size)]

    def calls(self, stock: Stock) -> list[bytes]:
        """The calls of the stock."""
        return [
            _call([self._envelope(stock) for _ in range(stock.shape.envelopes_per_call)]) for _ in range(stock.calls)
        ]

    def _funding_envelope(self, cards: list[CardToken]) -> Envelope:
        place = self._random.randrange(len(self.population.members))
        member = self.population.members[place]
        occurred_at = moment_of(FUNDED_AT)
        opened = [transactions.open_card(self._reference(), card, member.store, occurred_at) for card in cards]
        funded = [
            transactions.earn(self._reference(), card, member.store, FUNDING_POINTS, occurred_at) for card in cards
        ]
        return self._signed(place, [*opened, *funded], FUNDED_AT)

    def _envelope(self, stock: Stock) -> Envelope:
        place = self._random.randrange(stock.merchants)
        member = self.population.members[place]
        # Each a little later than the last, as the presented clock would see a day pass.
        presented_at = Instant(stock.presented_at + next(self._number) * _MILLISECOND)
        return self._signed(
            place,
            [self._transaction(member, presented_at) for _ in range(stock.shape.transactions_per_envelope)],
            presented_at,
        )

    def _transaction(self, member: Member, presented_at: Instant) -> Transaction:
        card = self._cards[self._random.randrange(len(self._cards))]
        occurred_at = moment_of(presented_at)
        if self._random.random() < BURN_SHARE:
            points = self._random.randint(1, BURN_POINTS_MAX)
            return transactions.burn(self._reference(), card, member.store, points, occurred_at)
        points = self._random.randint(1, EARN_POINTS_MAX)
        return transactions.earn(
            self._reference(), card, member.store, points, occurred_at, purchase_amount_minor=points * 100
        )

    def _signed(self, place: int, presented: list[Transaction], presented_at: Instant) -> Envelope:
        return sign_presentment(
            self.population.alliance,
            self.population.members[place].merchant,
            self._keys[place],
            presented,
            presented_at=presented_at,
        )

    def _reference(self) -> str:
        return f"till-{self.process}-{next(self._number):09d}"


def _call(envelopes: list[Envelope]) -> bytes:
    return SubmitRequest(envelopes=envelopes).SerializeToString()
