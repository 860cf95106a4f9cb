"""What an accepted transaction does."""

from __future__ import annotations

from typing import NamedTuple

from clearing.model import Points
from clearing.rules.card import Card, Taken
from clearing.rules.ledger import RecordedTransaction
from clearing.rules.movements import Posting


class Effect(NamedTuple):
    """The card afterwards, the postings that led there, and how many points moved."""

    card: Card
    points: Points
    postings: tuple[Posting, ...] = ()
    lots: tuple[Taken, ...] = ()
    """Of a burn: what each lot gave; of an earn: what its lot got."""
    original: RecordedTransaction | None = None
    """Of a refund: the original, with what has been taken back of it now."""
