"""Burn: the customer redeems points at the presenting merchant."""

from __future__ import annotations

import datetime

from clearing.errors import require_identity
from clearing.model import MerchantId, Outcome, Points
from clearing.rules.card import Card
from clearing.rules.effect import Effect
from clearing.rules.expiry import expire_lots
from clearing.rules.movements import Movement, of_lot


def burn(card: Card | None, redeemer: MerchantId, points: Points, today: datetime.date) -> Effect | Outcome:
    """Points out of the card's lots, earliest expiry first; each lot's issuer owes them to the redeemer."""
    if card is None:
        return Outcome.UNKNOWN_CARD
    if card.points_available(today) < points:
        return Outcome.INSUFFICIENT_POINTS

    card, postings = expire_lots(card, today)
    taken = card.take_earliest(points, today)
    require_identity(sum(share.points for share in taken) == points, "what is available can be taken")
    for lot, share in taken:
        card = card.with_points_added(lot, -share)
        postings += (of_lot(card.token, Movement.BURN, lot, share, redeemer),)
    return Effect(card, points, postings, tuple(taken))
