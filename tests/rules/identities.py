"""Identities of the ledger, each broken on purpose: ``python -O -m tests.rules.identities`` names those that nobody
noticed."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from clearing.card_token import token_of_bytes
from clearing.contract.entry import encode_presentment_entry
from clearing.deciding.batch_record import Head
from clearing.errors import LedgerContradictionError
from clearing.model import EntryIndex, EntryLinks, Instant, MerchantId, Points
from clearing.postgres.head import swap_of_heads
from clearing.rules.burn import burn
from clearing.rules.card import Card, Lot, LotKey
from clearing.v1.envelope_pb2 import Envelope

TODAY = datetime.date(2026, 1, 5)
BAKERY, CINEMA = MerchantId("bakery"), MerchantId("cinema")
LOT = LotKey(BAKERY, datetime.date(2027, 1, 31))
CARD = Card(token_of_bytes(bytes(16)), {LOT: Lot(Points(5), Points(0))}, {CINEMA: Points(3)})
HEAD = Head(2, bytes(32), Instant(10), "")


def a_burn_takes_other_than_was_asked() -> None:
    burn(CARD._replace(points_held=Points(9)), CINEMA, Points(7), TODAY)


def a_lot_falls_below_zero() -> None:
    CARD.with_points_added(LOT, -6)


def a_debt_falls_below_zero() -> None:
    CARD.with_debt_added(CINEMA, -4)


def the_log_does_not_grow() -> None:
    swap_of_heads(HEAD, Head(2, bytes(32), Instant(11), ""))


def the_ledgers_time_goes_back() -> None:
    swap_of_heads(HEAD, Head(3, bytes(32), Instant(9), ""))


def an_entry_is_larger_than_a_bundle_can_hold() -> None:
    encode_presentment_entry(Envelope(payload=bytes(2**16)), Instant(0), [], EntryLinks(EntryIndex(0), EntryIndex(0)))


BROKEN: tuple[Callable[[], None], ...] = (
    a_burn_takes_other_than_was_asked,
    a_lot_falls_below_zero,
    a_debt_falls_below_zero,
    the_log_does_not_grow,
    the_ledgers_time_goes_back,
    an_entry_is_larger_than_a_bundle_can_hold,
)


def is_noticed(broken: Callable[[], None]) -> bool:
    """Whether whoever breaks it hears that the ledger contradicts itself."""
    try:
        broken()
    except LedgerContradictionError:
        return True
    return False


if __name__ == "__main__":
    print(__debug__, *(broken.__name__ for broken in BROKEN if not is_noticed(broken)))
