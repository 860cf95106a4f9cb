"""What a run of the baskets' job came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clearing.model import Outcome, Points
from merchant_gateway.client.baskets.waves import PlannedBasket
from merchant_gateway.client.transaction_receipt import TransactionReceipt

REFUSALS_NAMED = 20


class Kind(StrEnum):
    """What is presented for a basket; with a hyphen and the basket's identifier it makes the reference."""

    OPEN = "open"
    EARN = "earn"
    BURN = "burn"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A transaction that the alliance refused."""

    line: int
    """Of the basket."""
    basket_id: str
    kind: Kind
    outcome: Outcome

    def __str__(self) -> str:
        """One line for people."""
        return f"line {self.line:,}: {self.kind} of basket {self.basket_id} refused: {self.outcome.name}"


@dataclass(frozen=True, slots=True)
class BasketSummary:
    """What a run came to. All but ``replayed`` is the same however often the file was run before."""

    baskets: int
    """In the file."""
    baskets_without_points: int
    """Whose amount earns less than one point."""
    cards_opened: int
    cards_known: int
    """Households whose card was open already, by another file."""
    earns: int
    """Accepted."""
    burns: int
    """Accepted."""
    points_issued: Points
    points_redeemed: Points
    transactions: int
    """Presented: accepted or refused, new or replayed."""
    replayed: int
    """Transactions that an earlier run had presented; nothing came of them this time."""
    refused: Mapping[Outcome, int]
    """How many were refused for which reason."""
    refusals: tuple[Refusal, ...]
    """The first of them."""
    seconds: float
    """From the first call to the last answer."""

    @property
    def transactions_per_second(self) -> float:
        """Speed, as the job has seen it: one call after the other."""
        return self.transactions / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Tally:
    """Counts while the job runs."""

    transactions: int = 0
    replayed: int = 0
    cards_known: int = 0
    accepted: Counter[Kind] = field(default_factory=Counter)
    points: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[Outcome] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, kind: Kind, planned: PlannedBasket, receipt: TransactionReceipt) -> None:
        """Count one answer."""
        self.transactions += 1
        self.replayed += receipt.replayed
        if receipt.is_accepted:
            self.accepted[kind] += 1
            self.points[kind] += receipt.points
        elif kind is Kind.OPEN and receipt.outcome is Outcome.CARD_EXISTS:
            self.cards_known += 1
        else:
            self.refused[receipt.outcome] += 1
            if len(self.refusals) < REFUSALS_NAMED:
                basket = planned.basket
                self.refusals.append(Refusal(basket.line, basket.basket_id, kind, receipt.outcome))

    def summary(self, baskets: int, baskets_without_points: int, seconds: float) -> BasketSummary:
        """The counts as they stand."""
        return BasketSummary(
            baskets=baskets,
            baskets_without_points=baskets_without_points,
            cards_opened=self.accepted[Kind.OPEN],
            cards_known=self.cards_known,
            earns=self.accepted[Kind.EARN],
            burns=self.accepted[Kind.BURN],
            points_issued=Points(self.points[Kind.EARN]),
            points_redeemed=Points(self.points[Kind.BURN]),
            transactions=self.transactions,
            replayed=self.replayed,
            refused=dict(self.refused),
            refusals=tuple(self.refusals),
            seconds=seconds,
        )
