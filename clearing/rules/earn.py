"""Earn: the presenting merchant issues points to the card."""

from __future__ import annotations

import datetime
from functools import lru_cache

from clearing.calendar import month_end, month_start
from clearing.model import POINTS_PER_CARD_MAX, MerchantId, Outcome, Points
from clearing.rules.card import Card, LotKey, Taken
from clearing.rules.debt import repay_from_earn
from clearing.rules.effect import Effect
from clearing.rules.expiry import expire_lots
from clearing.rules.movements import Movement, Posting, of_lot


@lru_cache(maxsize=4096)
def lot_of_earn(issuer: MerchantId, earned_on: datetime.date, lot_lifetime_months: int, unit: str) -> LotKey:
    """The lot that points go into: it expires with the last day of the month so many months later."""
    return LotKey(issuer, month_start(earned_on), month_end(earned_on, lot_lifetime_months), unit)


def earn(
    card: Card | None, issuer: MerchantId, points: Points, today: datetime.date, lot_lifetime_months: int, unit: str
) -> Effect | Outcome:
    """Points into the issuer's lot of this month, what the card owes being repaid first."""
    if card is None:
        return Outcome.UNKNOWN_CARD

    card, expiries = expire_lots(card, today)
    left: int = points
    repayments: tuple[Posting, ...] = ()
    if card.debts:
        card, left, repayments = repay_from_earn(card, issuer, points, month_start(today), unit)
    if left == 0:
        return Effect(card, points, expiries + repayments)
    # What has expired, or repays a debt, takes no room on the card.
    if card.points_in_lots + left > POINTS_PER_CARD_MAX:
        return Outcome.BALANCE_LIMIT_EXCEEDED
    lot = lot_of_earn(issuer, today, lot_lifetime_months, unit)
    credit = of_lot(card.token, Movement.EARN, lot, left)
    after = card.with_points_added(lot, left)
    return Effect(after, points, (*expiries, *repayments, credit), (Taken(lot, Points(left)),))
