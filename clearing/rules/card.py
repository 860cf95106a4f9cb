"""A card's balance: its lots and its debts, and the pure steps that change them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from clearing.model import CardToken, MerchantId, Points


class LotKey(NamedTuple):
    """What makes points of a card one lot."""

    issuer: MerchantId
    expires_on: datetime.date
    """The last local day on which the points can be spent."""


class Lot(NamedTuple):
    """Points of one issuer on one card that expire together."""

    points: Points
    """What is there."""
    points_expired: Points = Points(0)
    """What was there and has been booked as expired."""


EMPTY_LOT = Lot(Points(0))


class Taken(NamedTuple):
    """Points taken out of one lot."""

    lot: LotKey
    points: Points


@dataclass(frozen=True, slots=True)
class Card:
    """What a card holds and owes. Every change makes a new value."""

    token: CardToken
    lots: Mapping[LotKey, Lot] = field(default_factory=dict)
    """Never with an empty lot."""
    debts: Mapping[MerchantId, Points] = field(default_factory=dict)
    """What the card owes, by creditor. Never with a zero."""

    def points_available(self, today: datetime.date) -> Points:
        """Points that can be spent on ``today``."""
        return Points(sum(lot.points for key, lot in self.lots.items() if key.expires_on >= today))

    def points_held(self) -> Points:
        """Points in all lots, those past their date and not yet booked as expired included."""
        return Points(sum(lot.points for lot in self.lots.values()))

    def points_owed(self) -> Points:
        """Points that the card owes to all creditors."""
        return Points(sum(self.debts.values()))

    def spendable_lots(self, today: datetime.date) -> Iterator[tuple[LotKey, Lot]]:
        """Lots with points that have not passed their date, earliest expiry first, then by issuer."""
        spendable = [(key, lot) for key, lot in self.lots.items() if key.expires_on >= today and lot.points > 0]
        spendable.sort(key=lambda item: (item[0].expires_on, item[0].issuer))
        return iter(spendable)

    def with_lot(self, key: LotKey, lot: Lot) -> Card:
        """This card with that lot in place of the one it had; an empty lot is dropped."""
        lots = dict(self.lots)
        if lot == EMPTY_LOT:
            lots.pop(key, None)
        else:
            lots[key] = lot
        return Card(self.token, lots, self.debts)

    def with_points_added(self, key: LotKey, points: int) -> Card:
        """This card with so many points more (or fewer, if negative) in that lot."""
        lot = self.lots.get(key, EMPTY_LOT)
        assert lot.points + points >= 0, "a lot never falls below zero"
        return self.with_lot(key, Lot(Points(lot.points + points), lot.points_expired))

    def with_debt_added(self, creditor: MerchantId, points: int) -> Card:
        """This card owing so many points more (or fewer, if negative) to that creditor."""
        owed = self.debts.get(creditor, 0) + points
        assert owed >= 0, "a debt never falls below zero"
        debts = {name: amount for name, amount in self.debts.items() if name != creditor}
        if owed:
            debts[creditor] = Points(owed)
        return Card(self.token, self.lots, debts)

    def take_earliest(self, points: int, today: datetime.date) -> list[Taken]:
        """Which lots give so many points: earliest expiry first. Shorter than asked where the card has fewer."""
        taken: list[Taken] = []
        for key, lot in self.spendable_lots(today):
            if points == 0:
                break
            share = min(lot.points, points)
            taken.append(Taken(key, Points(share)))
            points -= share
        return taken
