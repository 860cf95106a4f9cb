"""A card's balance: its lots and its debts, and the pure steps that change them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from clearing.errors import require_identity
from clearing.model import CardToken, MerchantId, Points


class LotKey(NamedTuple):
    """What makes points of a card one lot."""

    issuer: MerchantId
    issued_in: datetime.date
    """The month of issue, as its first day: by its prices the points are settled, wherever and whenever they go."""
    expires_on: datetime.date
    """The last local day on which the points can be spent."""
    unit: str
    """What the points count in."""


class Lot(NamedTuple):
    """Points of one issuer on one card that expire together."""

    points: Points
    """What is there."""
    points_expired: Points = Points(0)
    """What was there and has been booked as expired."""


EMPTY_LOT: Final = Lot(Points(0))

NEVER: Final = datetime.date.max
"""The first expiry of a card without points."""

_NONE: Final = Points(0)
_NO_LOTS: Final[Mapping[LotKey, Lot]] = {}
_NO_DEBTS: Final[Mapping[MerchantId, Points]] = {}


class Taken(NamedTuple):
    """Points taken out of one lot."""

    lot: LotKey
    points: Points


class _Balance(NamedTuple):
    token: CardToken
    lots: Mapping[LotKey, Lot]
    """Never with an empty lot."""
    debts: Mapping[MerchantId, Points]
    """What the card owes, by creditor. Never with a zero."""
    points_in_lots: Points
    """Points in all lots, those past their date and not yet booked as expired included."""
    first_expiry: datetime.date
    """The earliest date of a lot with points; ``NEVER`` where there is none."""


class Card(_Balance):
    """What a card holds and owes. Every change makes a new value.

    Every transaction asks how many points the card holds, and whether any are past their date. Both follow from the
    lots and are kept beside them, so that a card of many lots is not counted again each time one of them changes.
    """

    __slots__ = ()

    def __new__(
        cls,
        token: CardToken,
        lots: Mapping[LotKey, Lot] = _NO_LOTS,
        debts: Mapping[MerchantId, Points] = _NO_DEBTS,
    ) -> Card:
        """The card with these lots and debts; what follows from them is counted."""
        points_in_lots = 0
        first_expiry = NEVER
        for key, (points, _) in lots.items():
            if points:
                points_in_lots += points
                if key.expires_on < first_expiry:
                    first_expiry = key.expires_on
        return _Balance.__new__(cls, token, lots, debts, Points(points_in_lots), first_expiry)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied as it is made: by its lots and debts."""
        return Card, (self.token, self.lots, self.debts)

    def points_available(self, today: datetime.date) -> Points:
        """Points that can be spent on ``today``."""
        if today <= self.first_expiry:
            return self.points_in_lots
        return Points(sum(lot.points for key, lot in self.lots.items() if key.expires_on >= today))

    def points_owed(self) -> Points:
        """Points that the card owes to all creditors."""
        return Points(sum(self.debts.values())) if self.debts else _NONE

    def spendable_lots(self, today: datetime.date) -> Iterator[tuple[LotKey, Lot]]:
        """Lots with points that have not passed their date, earliest expiry first, then by issuer."""
        spendable = [(key, lot) for key, lot in self.lots.items() if key.expires_on >= today and lot.points > 0]
        spendable.sort(key=lambda item: (item[0].expires_on, item[0].issuer, item[0].issued_in))
        return iter(spendable)

    def with_lot(self, key: LotKey, lot: Lot) -> Card:
        """This card with that lot in place of the one it had; an empty lot is dropped."""
        return self._changed(key, lot, lot.points - self.lots.get(key, EMPTY_LOT).points)

    def with_points_added(self, key: LotKey, points: int) -> Card:
        """This card with so many points more (or fewer, if negative) in that lot."""
        points_before, points_expired = self.lots.get(key, EMPTY_LOT)
        points_after = Points(points_before + points)
        require_identity(points_after >= 0, "a lot never falls below zero")
        return self._changed(key, Lot(points_after, points_expired), points)

    def _changed(self, key: LotKey, lot: Lot, points_more: int) -> Card:
        """This card with that lot, which has so many points more than the one it had."""
        token, lots_before, debts, points_in_lots, first_expiry = self
        lots = dict(lots_before)
        if lot == EMPTY_LOT:
            lots.pop(key, None)
        else:
            lots[key] = lot
        expires_on = key.expires_on
        if lot.points:
            if expires_on < first_expiry:
                first_expiry = expires_on
        elif expires_on == first_expiry:
            first_expiry = min((each.expires_on for each, held in lots.items() if held.points), default=NEVER)
        return _Balance.__new__(Card, token, lots, debts, Points(points_in_lots + points_more), first_expiry)

    def with_debt_added(self, creditor: MerchantId, points: int) -> Card:
        """This card owing so many points more (or fewer, if negative) to that creditor."""
        owed = self.debts.get(creditor, 0) + points
        require_identity(owed >= 0, "a debt never falls below zero")
        debts = {name: amount for name, amount in self.debts.items() if name != creditor}
        if owed:
            debts[creditor] = Points(owed)
        return _Balance.__new__(Card, self.token, self.lots, debts, self.points_in_lots, self.first_expiry)

    def take_earliest(self, points: int, today: datetime.date) -> list[Taken]:
        """Which lots give so many points: earliest expiry first. Shorter than asked where the card has fewer."""
        if today <= self.first_expiry:
            # Mostly one lot gives it all; then the others need not be put in order.
            first = min((key for key in self.lots if key.expires_on == self.first_expiry), default=None)
            if first is not None and self.lots[first].points >= points:
                return [Taken(first, Points(points))]
        taken: list[Taken] = []
        for key, lot in self.spendable_lots(today):
            if points == 0:
                break
            share = min(lot.points, points)
            taken.append(Taken(key, Points(share)))
            points -= share
        return taken
