"""Cards that were in use lately, as the last decided batch left them."""

from __future__ import annotations

from collections.abc import Mapping

from clearing.model import CardToken
from clearing.rules.card import Card

CARDS_MAX = 50_000
"""Some hundred bytes each, and more with every lot: in all about 100 MiB."""


class CardCache:
    """The cards used last. For the writer's thread, which alone changes cards, so that none can be out of date."""

    def __init__(self, cards_max: int = CARDS_MAX) -> None:
        self._cards_max = cards_max
        self._cards: dict[CardToken, Card] = {}
        """Those used longest ago first."""

    @property
    def known(self) -> Mapping[CardToken, Card]:
        """The cards, by token."""
        return self._cards

    def keep(self, cards: Mapping[CardToken, Card]) -> None:
        """Take these in their new state, and drop those used longest ago where there are too many."""
        for token in cards:
            self._cards.pop(token, None)
        self._cards.update(cards)
        surplus = len(self._cards) - self._cards_max
        if surplus > 0:
            for token in list(self._cards)[:surplus]:
                del self._cards[token]

    def clear(self) -> None:
        """Forget all: what was decided last may not have come to be."""
        self._cards.clear()
