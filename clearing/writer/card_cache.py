"""Cards that were in use lately, as the last decided batch left them."""

from __future__ import annotations

from collections.abc import Mapping

from clearing.model import CardToken
from clearing.rules.card import Card

BALANCES_MAX = 400_000
"""Lots and debts of all cards together, and one for each card. At 135 to 277 bytes each (measured with 60 lots a card,
and with one) that is 50 to 110 MiB, however many lots the cards have."""


class CardCache:
    """The cards used last, bounded by what they hold: a card of sixty lots takes the room of sixty.

    For the writer's thread, which alone changes cards, so that none can be out of date.
    """

    def __init__(self, balances_max: int = BALANCES_MAX) -> None:
        self._balances_max = balances_max
        self._cards: dict[CardToken, Card] = {}
        """Those used longest ago first."""
        self._balances = 0
        """Of all these cards."""

    @property
    def known(self) -> Mapping[CardToken, Card]:
        """The cards, by token."""
        return self._cards

    def keep(self, cards: Mapping[CardToken, Card]) -> None:
        """Take these in their new state, and drop those used longest ago where all together hold too much."""
        for token, card in cards.items():
            before = self._cards.pop(token, None)
            if before is not None:
                self._balances -= _balances_of(before)
            self._balances += _balances_of(card)
        self._cards.update(cards)
        while self._balances > self._balances_max and self._cards:
            oldest = next(iter(self._cards))
            self._balances -= _balances_of(self._cards.pop(oldest))

    def clear(self) -> None:
        """Forget all: what was decided last may not have come to be."""
        self._cards.clear()
        self._balances = 0


def _balances_of(card: Card) -> int:
    """How many lots and debts a card has, and one for the card itself."""
    return 1 + len(card.lots) + len(card.debts)
