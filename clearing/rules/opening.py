"""Open card: makes a token known."""

from __future__ import annotations

from clearing.model import CardToken, Outcome, Points
from clearing.rules.card import Card
from clearing.rules.effect import Effect


def open_card(card: Card | None, token: CardToken) -> Effect | Outcome:
    """A new card without points; ``CARD_EXISTS`` if the token is known."""
    if card is not None:
        return Outcome.CARD_EXISTS
    return Effect(Card(token), Points(0))
