"""Step 5 of a transaction's way: what the rules need to know for a batch, with one query a table."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from clearing.model import (
    CardToken,
    EntryIndex,
    ExpireLots,
    Instruction,
    MerchantId,
    Outcome,
    Points,
    Presentment,
    Reference,
    Refund,
    StoreId,
    TransactionResult,
)
from clearing.rules.card import Card, Lot, LotKey, Taken
from clearing.rules.ledger import KindCode, Ledger, RecordedInstruction, RecordedTransaction
from clearing.rules.movements import Movement
from clearing.store.bulk import PROBE_INDEXES, array_literal, driver_cursor
from clearing.store.database_errors import StoredStateError
from clearing.store.references import OF_INSTRUCTIONS, SignedReference, StoredReference, find_references

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one

TransactionKey = tuple[MerchantId, Reference]
_NO_CARDS: Final[Mapping[CardToken, Card]] = MappingProxyType({})

lot_key = lru_cache(maxsize=65_536)(LotKey)
"""One object for all cards' lots of an issuer and a date: there are few such keys, and many lots to load."""


def load_ledger(
    connection: Connection,
    *,
    presentments: Iterable[Presentment],
    instructions: Iterable[Instruction],
    known_cards: Mapping[CardToken, Card] = _NO_CARDS,
) -> Ledger:
    """The ledger as far as these messages can touch it: their cards, and what was decided under their references.

    ``known_cards`` are cards whose newest state the caller has at hand; they are taken over as they are. A writer may
    pass what its last batches left, because once it is fenced it cannot record what it decided on them.
    """
    asked: set[SignedReference] = set()
    cards: set[CardToken] = set()
    for presentment in presentments:
        merchant = presentment.merchant
        for transaction in presentment.transactions:
            asked.add((merchant, transaction.reference))
            cards.add(transaction.card)
            if isinstance(transaction.kind, Refund):
                asked.add((merchant, transaction.kind.original_reference))
    for instruction in instructions:
        asked.add((OF_INSTRUCTIONS, instruction.reference))
        if isinstance(instruction.action, ExpireLots):
            cards.update(instruction.action.cards)

    ledger = Ledger(cards={token: known_cards[token] for token in cards & known_cards.keys()})
    with driver_cursor(connection) as cursor:
        decided: dict[TransactionKey, StoredReference] = {}
        for (merchant_or_none, reference), stored in find_references(cursor, asked).items():
            if merchant_or_none:
                decided[(merchant_or_none, reference)] = stored
            else:
                ledger.instructions[reference] = RecordedInstruction(stored.entry_index, stored.content_digest)
        ledger.transactions.update(load_transactions(cursor, decided))
        ledger.cards.update(load_cards(cursor, [token for token in cards if token not in known_cards]))
    return ledger


def load_cards(cursor: Cursor, tokens: Sequence[CardToken]) -> dict[CardToken, Card]:
    """Those of the cards that have been opened, with their lots and debts."""
    if not tokens:
        return {}
    asked = array_literal(tokens)
    lots: dict[CardToken, dict[LotKey, Lot]] = {}
    cursor.execute(
        f"{PROBE_INDEXES} SELECT card, issuer, expires_on, points, points_expired"  # noqa: S608 - a constant
        " FROM lots WHERE card = ANY (%s::text[])",
        (asked,),
    )
    for token, issuer, expires_on, points, points_expired in cursor.fetchall():
        lots.setdefault(token, {})[lot_key(issuer, expires_on)] = Lot(points, points_expired)

    debts: dict[CardToken, dict[MerchantId, Points]] = {}
    cursor.execute("SELECT card, creditor, points FROM debts WHERE card = ANY (%s::text[])", (asked,))
    for token, creditor, points in cursor.fetchall():
        debts.setdefault(token, {})[creditor] = points

    # A card that holds or owes something has been opened: only of the others it has to be asked.
    known = lots.keys() | debts.keys()
    if len(known) < len(tokens):
        others = array_literal([token for token in tokens if token not in known])
        cursor.execute("SELECT card FROM cards WHERE card = ANY (%s::text[])", (others,))
        known = known.union(token for (token,) in cursor.fetchall())
    return {token: Card(token, lots.get(token, {}), debts.get(token, {})) for token in known}


def load_transactions(
    cursor: Cursor, decided: Mapping[TransactionKey, StoredReference]
) -> dict[TransactionKey, RecordedTransaction]:
    """The recorded transactions that references stand for.

    Found by merchant and entry: a reference does not hold the card, which may be another than a refund names.
    """
    if not decided:
        return {}
    cursor.execute(
        f"{PROBE_INDEXES} SELECT entry_index, position, kind, card, store, outcome, points, points_available,"  # noqa: S608
        " points_owed, points_refunded, decided_on FROM transactions"
        " JOIN unnest(%s::text[], %s::bigint[], %s::smallint[]) AS asked (merchant, entry_index, position)"
        " USING (merchant, entry_index, position)",
        (
            array_literal([merchant for merchant, _ in decided]),
            array_literal([str(stored.entry_index) for stored in decided.values()]),
            array_literal([str(stored.position) for stored in decided.values()]),
        ),
    )
    rows = {(row[0], row[1]): row[2:] for row in cursor.fetchall()}
    burns = [
        (card, entry_index, position)
        for (entry_index, position), (kind, card, _, outcome, *_) in rows.items()
        if kind == KindCode.BURN and outcome == Outcome.ACCEPTED
    ]
    taken = _load_taken(cursor, burns)

    transactions: dict[TransactionKey, RecordedTransaction] = {}
    for (merchant, reference), (entry_index, position, content_digest) in decided.items():
        row = rows.get((entry_index, position))
        if row is None:
            raise StoredStateError(
                f"Entry {entry_index} decided {reference!r} of {merchant}, and the transaction is not in the database. "
                "The tables have been changed by other means than this program: rebuild them from the log."
            )
        kind, card, store, outcome, points, points_available, points_owed, points_refunded, decided_on = row
        transactions[(merchant, reference)] = RecordedTransaction(
            entry_index=entry_index,
            position=position,
            merchant=merchant,
            reference=reference,
            content_digest=content_digest,
            kind=KindCode(kind),
            card=card,
            store=StoreId(store),
            result=TransactionResult(Outcome(outcome), points, points_available, points_owed),
            decided_on=decided_on,
            points_refunded=points_refunded,
            taken=taken.get((entry_index, position), ()),
        )
    return transactions


def _load_taken(
    cursor: Cursor, burns: Sequence[tuple[CardToken, EntryIndex, int]]
) -> dict[tuple[EntryIndex, int], tuple[Taken, ...]]:
    """What each lot gave to burns, in the order taken: a burn's own postings of that movement, by line."""
    if not burns:
        return {}
    cursor.execute(
        "SELECT entry_index, position, issuer, expires_on, points FROM postings"
        " JOIN unnest(%s::text[], %s::bigint[], %s::smallint[]) AS asked (card, entry_index, position)"
        " USING (card, entry_index, position)"
        " WHERE movement = %s ORDER BY entry_index, position, line",
        (
            array_literal([card for card, _, _ in burns]),
            array_literal([str(entry_index) for _, entry_index, _ in burns]),
            array_literal([str(position) for _, _, position in burns]),
            int(Movement.BURN),
        ),
    )
    taken: dict[tuple[EntryIndex, int], tuple[Taken, ...]] = {}
    rows: list[tuple[EntryIndex, int, MerchantId, datetime.date, Points]] = cursor.fetchall()
    for entry_index, position, issuer, expires_on, points in rows:
        share = Taken(lot_key(issuer, expires_on), points)
        taken[(entry_index, position)] = (*taken.get((entry_index, position), ()), share)
    return taken
