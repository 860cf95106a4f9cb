"""Expiry: points past their lot's date leave the card as breakage."""

from __future__ import annotations

import datetime

from clearing.model import Points
from clearing.rules.card import Card, Lot
from clearing.rules.movements import Movement, Posting, of_lot


def expire_lots(card: Card, today: datetime.date) -> tuple[Card, tuple[Posting, ...]]:
    """The card without points past their date, and the postings ``card/C`` to ``expired/A``, by date and issuer.

    Points could not be spent past their date anyway; this books them, whenever the card is next touched.
    """
    if today <= card.first_expiry:
        return card, ()
    past = [key for key, lot in card.lots.items() if key.expires_on < today and lot.points > 0]
    postings = []
    for key in sorted(past, key=lambda key: (key.expires_on, key.issuer, key.issued_in)):
        lot = card.lots[key]
        postings.append(of_lot(card.token, Movement.EXPIRY, key, lot.points))
        card = card.with_lot(key, Lot(Points(0), Points(lot.points_expired + lot.points)))
    return card, tuple(postings)
