"""Step 5 of a transaction's way: what the rules need to know for a batch, with one query a table."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection

from clearing.model import (
    CardToken,
    Instruction,
    InstructionKey,
    MerchantId,
    Outcome,
    Points,
    Presentment,
    Reference,
    Refund,
    StoreId,
    TransactionKind,
    TransactionResult,
)
from clearing.postgres.bulk import Prepared, array_literal, driver_cursor, execute_prepared
from clearing.rules.actions import cards_of
from clearing.rules.card import Card, Lot, LotKey, Taken
from clearing.rules.ledger import Ledger, RecordedInstruction, RecordedTransaction

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one

TransactionKey = tuple[MerchantId, Reference]
Key = TypeVar("Key")
Value = TypeVar("Value")
_NO_CARDS: Final[Mapping[CardToken, Card]] = MappingProxyType({})
_NO_TRANSACTIONS: Final[Mapping[TransactionKey, RecordedTransaction]] = MappingProxyType({})
_NO_INSTRUCTIONS: Final[Mapping[InstructionKey, RecordedInstruction]] = MappingProxyType({})

_FIND_CARDS: Final = Prepared(
    "find_cards",
    "text[]",
    "SELECT card, lots::text, lots_expired::text, debts::text FROM unnest($1) AS asked (card) JOIN cards USING (card)",
)
_FIND_TRANSACTIONS: Final = Prepared(
    "find_transactions",
    "text[], text[]",
    "SELECT merchant, reference, content_digest::text, entry_index, position, kind, card, store, outcome, points,"
    " points_available, points_owed, points_refunded, decided_on, lots"
    " FROM unnest($1, $2) AS asked (merchant, reference) JOIN transactions USING (merchant, reference)",
)
_FIND_INSTRUCTIONS: Final = Prepared(
    "find_instructions",
    "text[]",
    "SELECT merchant, reference, entry_index, content_digest::text FROM instructions WHERE reference = ANY ($1)",
)


def load_ledger(
    connection: Connection,
    *,
    presentments: Iterable[Presentment],
    instructions: Iterable[Instruction],
    known_cards: Mapping[CardToken, Card] = _NO_CARDS,
    known_transactions: Mapping[TransactionKey, RecordedTransaction] = _NO_TRANSACTIONS,
    known_instructions: Mapping[InstructionKey, RecordedInstruction] = _NO_INSTRUCTIONS,
    may_be_used: Callable[[Collection[TransactionKey]], Collection[TransactionKey]] = lambda keys: keys,
) -> Ledger:
    """The ledger as far as these messages can touch it: their cards, and what was decided under their references.

    What is ``known`` is newer than the database or the same: it is taken over as it is, and not asked for. A writer
    may pass what its last batches left, committed or not, because if they are not committed after all, or it is fenced,
    it cannot record what it decided on them. ``may_be_used`` names those of the references that have to be asked for.
    """
    references: set[TransactionKey] = set()
    cards: set[CardToken] = set()
    for presentment in presentments:
        merchant = presentment.merchant
        for transaction in presentment.transactions:
            references.add((merchant, transaction.reference))
            cards.add(transaction.card)
            if isinstance(transaction.kind, Refund):
                references.add((merchant, transaction.kind.original_reference))
    instruction_keys: set[InstructionKey] = set()
    for instruction in instructions:
        instruction_keys.add(instruction.key)
        cards.update(cards_of(instruction.action))

    ledger = Ledger(
        _at_hand(cards, known_cards),
        _at_hand(references, known_transactions),
        _at_hand(instruction_keys, known_instructions),
    )
    with driver_cursor(connection) as cursor:
        ledger.transactions.update(load_transactions(cursor, may_be_used(references - ledger.transactions.keys())))
        ledger.instructions.update(load_instructions(cursor, instruction_keys - ledger.instructions.keys()))
        ledger.cards.update(load_cards(cursor, cards - ledger.cards.keys()))
    return ledger


def _at_hand(asked: Iterable[Key], known: Mapping[Key, Value]) -> dict[Key, Value]:
    return {key: known[key] for key in asked if key in known} if known else {}


def load_cards(cursor: Cursor, tokens: Collection[CardToken]) -> dict[CardToken, Card]:
    """Those of the cards that have been opened, with their lots and debts."""
    if not tokens:
        return {}
    execute_prepared(cursor, _FIND_CARDS, array_literal(tokens))
    return {
        token: Card(token, _lots(points, points_expired), {} if debts == "{}" else json.loads(debts))
        for token, points, points_expired, debts in cursor.fetchall()
    }


def _lots(points_text: str, points_expired_text: str) -> dict[LotKey, Lot]:
    points: dict[str, Points] = json.loads(points_text)
    if points_expired_text == "{}":
        return dict(zip(map(_lot_key, points), map(Lot, points.values()), strict=True))
    points_expired: dict[str, Points] = json.loads(points_expired_text)
    none = Points(0)
    return {
        _lot_key(name): Lot(points.get(name, none), points_expired.get(name, none)) for name in points | points_expired
    }


def lot_name(lot: LotKey) -> str:
    """How a lot is called in rows: its last day, its month of issue, unit and issuer."""
    return f"{lot.expires_on} {lot.issued_in:%Y-%m} {lot.unit} {lot.issuer}"


@lru_cache(maxsize=65_536)
def _lot_key(name: str) -> LotKey:
    """The reverse of ``lot_name``. One object for all cards' lots of a kind: there are few such keys."""
    expires_on, issued_in, unit, issuer = name.split(" ", 3)
    date = datetime.date.fromisoformat
    return LotKey(MerchantId(issuer), date(f"{issued_in}-01"), date(expires_on), unit)


def lots_text(lots: Iterable[Taken]) -> str:
    """The lots of a transaction, as its row has them."""
    return ";".join(f"{points} {lot_name(lot)}" for lot, points in lots)


def _lots_of(text: str | None) -> tuple[Taken, ...]:
    """The reverse of ``lots_text``."""
    if not text:
        return ()
    parts = (part.partition(" ") for part in text.split(";"))
    return tuple(Taken(_lot_key(name), Points(int(points))) for points, _, name in parts)


def load_transactions(cursor: Cursor, keys: Collection[TransactionKey]) -> dict[TransactionKey, RecordedTransaction]:
    """What was decided under those of the references that have been used."""
    if not keys:
        return {}
    merchants, references = zip(*keys, strict=True)
    execute_prepared(cursor, _FIND_TRANSACTIONS, array_literal(merchants), array_literal(references))
    rows = cursor.fetchall()
    if not rows:
        return {}
    transactions: dict[TransactionKey, RecordedTransaction] = {}
    for (
        merchant, reference, content_digest, entry_index, position, kind, card, store, outcome, points,
        points_available, points_owed, points_refunded, decided_on, lots,
    ) in rows:  # fmt: skip
        transactions[(merchant, reference)] = RecordedTransaction(
            entry_index=entry_index,
            position=position,
            merchant=merchant,
            reference=reference,
            content_digest=_digest(content_digest),
            kind=TransactionKind(kind),
            card=card,
            store=StoreId(store),
            result=TransactionResult(Outcome(outcome), points, points_available, points_owed),
            decided_on=decided_on,
            points_refunded=points_refunded,
            lots=_lots_of(lots),
        )
    return transactions


def load_instructions(cursor: Cursor, keys: Collection[InstructionKey]) -> dict[InstructionKey, RecordedInstruction]:
    """What was decided under these references of parties' instructions."""
    if not keys:
        return {}
    execute_prepared(cursor, _FIND_INSTRUCTIONS, array_literal({reference for _, reference in keys}))
    return {
        # Other parties may have used the same references.
        (merchant, reference): RecordedInstruction(entry_index, _digest(content_digest))
        for merchant, reference, entry_index, content_digest in cursor.fetchall()
        if (merchant, reference) in keys
    }


def _digest(uuid: str) -> bytes:
    """A digest of 128 bits, which a uuid's column holds in fewest bytes."""
    return bytes.fromhex(uuid.replace("-", ""))
