"""Identities of the ledger, each broken on purpose: ``python -O -m tests.identities`` names those that nobody
noticed."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace

from clearing.card_token import token_of_bytes
from clearing.contract.entry import encode_presentment_entry
from clearing.deciding.batch_record import Head
from clearing.errors import LedgerContradictionError
from clearing.model import EntryIndex, EntryLinks, Instant, MerchantId, Points
from clearing.postgres.head import swap_of_heads
from clearing.rules.burn import burn
from clearing.rules.card import Card, Lot, LotKey
from clearing.v1.envelope_pb2 import Envelope
from settlement.v1.statements import Settlement
from tests.settlement.scenario import MERCHANTS, settled

TODAY = datetime.date(2026, 1, 5)
BAKERY, CINEMA = MerchantId("bakery"), MerchantId("cinema")
LOT = LotKey(BAKERY, datetime.date(2026, 1, 1), datetime.date(2027, 1, 31), "PTS")
CARD = Card(token_of_bytes(bytes(16)), {LOT: Lot(Points(5), Points(0))}, {CINEMA: Points(3)})
A = MERCHANTS[0]
HEAD = Head(2, bytes(32), Instant(10), "")


def a_burn_takes_other_than_was_asked() -> None:
    burn(CARD._replace(points_in_lots=Points(9)), CINEMA, Points(7), TODAY)


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


def settlement() -> Settlement:
    """A window in which both redeem points of the other."""
    return settled("""
        before
        during
        a earn 500 on 2026-01-05
        b earn 400 on 2026-01-05
        a burn 100 at b on 2026-01-20
        b burn 50 at a on 2026-01-20
    """)


def redeemed_points_have_no_redeemer() -> None:
    replace(settlement().statement_of(A), redeemed_from_me=())


def a_merchants_position_is_not_what_it_owes() -> None:
    statement = settlement().statement_of(A)
    replace(statement, position=replace(statement.position, payable_minor=statement.position.payable_minor + 1))


def positions_do_not_sum_to_zero() -> None:
    alliance = settlement().alliance
    replace(alliance, positions=alliance.positions[1:])


def payments_do_not_settle_positions() -> None:
    replace(settlement().alliance, payments=())


BROKEN: tuple[Callable[[], None], ...] = (
    a_burn_takes_other_than_was_asked,
    a_lot_falls_below_zero,
    a_debt_falls_below_zero,
    the_log_does_not_grow,
    the_ledgers_time_goes_back,
    an_entry_is_larger_than_a_bundle_can_hold,
    redeemed_points_have_no_redeemer,
    a_merchants_position_is_not_what_it_owes,
    positions_do_not_sum_to_zero,
    payments_do_not_settle_positions,
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
