"""Reading the ledger: balances and transactions.

Where a function makes several queries, the caller's transaction is a ``snapshot``.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Final, NamedTuple

from sqlalchemy import Connection, collate, exists, func, select, tuple_

from clearing.model import (
    CardToken,
    EntryIndex,
    Instant,
    InstructionKey,
    MerchantId,
    Outcome,
    Points,
    Reference,
    StoreId,
    TransactionKind,
)
from clearing.postgres.bulk import driver_cursor
from clearing.postgres.reading.load import load_cards, load_instructions, load_transactions
from clearing.postgres.tables import cards, entries, lots, transactions
from clearing.rules.card import Card
from clearing.rules.ledger import RecordedInstruction, RecordedTransaction

CARDS_READ_MAX: Final = 100_000
"""A page of past lots reads so many cards at the most, which takes about a second."""
REFERENCES_PER_CHUNK: Final = 2_000


class TransactionPlace(NamedTuple):
    """Where a transaction stands in the log."""

    entry_index: EntryIndex
    position: int


class ListedTransaction(NamedTuple):
    """A transaction in a merchant's list."""

    entry_index: EntryIndex
    position: int
    accepted_at: Instant
    reference: Reference
    kind: TransactionKind
    outcome: Outcome
    card: CardToken
    store: StoreId
    points: Points
    points_refunded: Points

    @property
    def place(self) -> TransactionPlace:
        """Where the list goes on after this one."""
        return TransactionPlace(self.entry_index, self.position)


def read_card(connection: Connection, token: CardToken) -> Card | None:
    """What a card holds and owes; None if it has not been opened."""
    with driver_cursor(connection) as cursor:
        return load_cards(cursor, [token]).get(token)


def has_presented(connection: Connection, merchant: MerchantId, card: CardToken) -> bool:
    """Whether any transaction of the card, whatever came of it, was the merchant's."""
    presented = exists().where(transactions.c.card == card, transactions.c.merchant == merchant)
    return bool(connection.execute(select(presented)).scalar_one())


def read_transaction(connection: Connection, merchant: MerchantId, reference: Reference) -> RecordedTransaction | None:
    """What was decided under a merchant's reference; None if nothing was."""
    with driver_cursor(connection) as cursor:
        return load_transactions(cursor, [(merchant, reference)]).get((merchant, reference))


def read_instruction(connection: Connection, key: InstructionKey) -> RecordedInstruction | None:
    """What was decided under the reference of a party's instruction; None if nothing was."""
    with driver_cursor(connection) as cursor:
        return load_instructions(cursor, [key]).get(key)


def stream_references(connection: Connection) -> Iterator[list[tuple[MerchantId, Reference]]]:
    """The references under which anything was decided, with their merchants, in chunks and no order."""
    query = select(transactions.c.merchant, transactions.c.reference)
    rows = connection.execute(query, execution_options={"stream_results": True, "max_row_buffer": REFERENCES_PER_CHUNK})
    for chunk in rows.partitions(REFERENCES_PER_CHUNK):
        yield [(merchant, reference) for merchant, reference in chunk]


def list_transactions(
    connection: Connection,
    merchant: MerchantId,
    *,
    limit: int,
    after: TransactionPlace | None = None,
    first_index: int = 0,
    end_index: int | None = None,
) -> list[ListedTransaction]:
    """A page of a merchant's transactions in the order of the log.

    The page begins behind ``after``, the last page's last place. Only entries from ``first_index`` up to, not
    including, ``end_index`` count; None: up to the end of the log.
    """
    page = (
        select(transactions)
        .where(transactions.c.merchant == merchant, transactions.c.entry_index >= first_index)
        .order_by(transactions.c.entry_index, transactions.c.position)
        .limit(limit)
    )
    if after is not None:
        page = page.where(tuple_(transactions.c.entry_index, transactions.c.position) > tuple_(*after))
    if end_index is not None:
        page = page.where(transactions.c.entry_index < end_index)
    # Joined to the finished page: the planner would otherwise merge the list with all entries of the log.
    listed = page.subquery()
    query = (
        select(listed, entries.c.accepted_at)
        .join_from(listed, entries, entries.c.index == listed.c.entry_index)
        .order_by(listed.c.entry_index, listed.c.position)
    )
    return [
        ListedTransaction(
            EntryIndex(row.entry_index),
            row.position,
            Instant(row.accepted_at),
            Reference(row.reference),
            TransactionKind(row.kind),
            Outcome(row.outcome),
            CardToken(row.card),
            StoreId(row.store),
            Points(row.points),
            Points(row.points_refunded),
        )
        for row in connection.execute(query)
    ]


class PastLot(NamedTuple):
    """Points on a card past their last day, not booked as expired yet."""

    card: CardToken
    issuer: MerchantId
    expires_on: datetime.date
    points: Points


class PastLots(NamedTuple):
    """A page of such lots."""

    lots: list[PastLot]
    """By card, last day and issuer. May be empty though other pages follow."""
    goes_on_after: CardToken | None
    """The card behind which the next page begins; None after the last."""


def list_past_lots(
    connection: Connection,
    as_of: datetime.date,
    *,
    cards_limit: int,
    after: CardToken | None = None,
    cards_read_max: int = CARDS_READ_MAX,
) -> PastLots:
    """Lots with points whose last day lies before ``as_of``: all those of the next cards behind ``after``.

    There is no index of dates, which every transaction would have to keep up: the pages go through the cards in order,
    and none reads more than ``cards_read_max`` of them.
    """
    following = select(cards.c.card).order_by(cards.c.card)
    if after is not None:
        following = following.where(cards.c.card > after)
    last_read = connection.scalar(following.offset(cards_read_max - 1).limit(1))
    # Names of lots begin with their date, in a form that sorts as text.
    name = func.jsonb_object_keys(cards.c.lots).column_valued("name")
    page = following.where(exists(select(name).where(collate(name, "C") < as_of.isoformat()))).limit(cards_limit)
    if last_read is not None:
        page = page.where(cards.c.card <= last_read)
    found = connection.scalars(page).all()
    query = (
        select(lots.c.card, lots.c.issuer, lots.c.expires_on, lots.c.points)
        .where(lots.c.card.in_(found), lots.c.expires_on < as_of, lots.c.points > 0)
        .order_by(lots.c.card, lots.c.expires_on, lots.c.issuer)
    )
    listed = [
        PastLot(CardToken(row.card), MerchantId(row.issuer), row.expires_on, Points(row.points))
        for row in connection.execute(query)
    ]
    goes_on_after = found[-1] if len(found) == cards_limit else last_read
    return PastLots(listed, CardToken(goes_on_after) if goes_on_after is not None else None)
