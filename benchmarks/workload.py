"""What the load is made of: who presents, on which cards, and in which portions.

All of it lies in the past of the presented clock: the load in January 2026, and its end in February.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from clearing.calendar import instant_of
from clearing.contract.log_identity import LogIdentity
from clearing.model import Instant, MerchantId, StoreId, WindowId

TIME_ZONE: Final = "Europe/Berlin"
WINDOW: Final = WindowId("2026-01")
"""The month that is loaded, and closed under load."""
FOUNDED_AT: Final = instant_of(datetime.datetime(2026, 1, 2, 9, tzinfo=datetime.UTC))
FUNDED_AT: Final = instant_of(datetime.datetime(2026, 1, 5, 9, tzinfo=datetime.UTC))
LOADED_AT: Final = instant_of(datetime.datetime(2026, 1, 31, 9, tzinfo=datetime.UTC))
"""The month's last day, so that a call overtaken by the first of February is not late."""
LOADED_AFTER_CLOSING_AT: Final = instant_of(datetime.datetime(2026, 2, 1, 9, tzinfo=datetime.UTC))

MERCHANTS: Final = 20
CARDS: Final = 50_000
BURN_SHARE: Final = 0.2
EARN_POINTS_MAX: Final = 500
BURN_POINTS_MAX: Final = 100
FUNDING_POINTS: Final = 100_000
"""What each card begins with: enough that burns are accepted, since a refused one moves no points and costs less."""


@dataclass(frozen=True, slots=True)
class Shape:
    """In which portions transactions are presented."""

    name: str
    callers: int
    """Calls under way at any time: each caller makes its next call when the last one is answered."""
    envelopes_per_call: int
    transactions_per_envelope: int
    transactions_per_second_guess: int
    """For how many to sign envelopes before anything is known of the machine."""

    @property
    def transactions_per_call(self) -> int:
        """How many one call presents."""
        return self.envelopes_per_call * self.transactions_per_envelope


UNARY: Final = Shape("unary", 64, 1, 1, 5_000)
SIGNED_SINGLES: Final = Shape("signed_singles", 24, 100, 1, 20_000)
SIGNED_BATCHES: Final = Shape("signed_batches", 32, 2, 100, 40_000)


@dataclass(frozen=True, slots=True)
class Member:
    """A merchant and its key, to be handed to another process."""

    merchant: MerchantId
    seed: bytes

    @property
    def store(self) -> StoreId:
        """Its one store."""
        return StoreId(f"{self.merchant}-1")


@dataclass(frozen=True, slots=True)
class Population:
    """Everybody and every card of the load."""

    alliance: LogIdentity
    members: tuple[Member, ...]
    cards: int


@dataclass(frozen=True, slots=True)
class Stock:
    """Calls to be made ready: so many, of this shape, by the first so many merchants, presented from this time on."""

    shape: Shape
    calls: int
    merchants: int = MERCHANTS
    presented_at: Instant = LOADED_AT
