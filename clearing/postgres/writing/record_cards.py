"""What cards hold and owe: a row a card, of which a batch writes the lots that it changed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from clearing.model import CardToken, EntryIndex, MerchantId, Points
from clearing.postgres.bulk import Prepared, array_literal, copy_of_rows
from clearing.postgres.reading.load import lot_name
from clearing.postgres.sql import Execution, Statement
from clearing.rules.card import Card, LotKey
from clearing.rules.movements import MOVEMENTS

if TYPE_CHECKING:
    from clearing.deciding.batch_record import EntryPosting

_CHANGE_LOTS: Final = Prepared(
    "change_lots",
    "text[], jsonb[]",
    "UPDATE cards SET lots = cards.lots || changed.lots FROM unnest($1, $2) AS changed (card, lots)"
    " WHERE cards.card = changed.card",
)
_REPLACE_BALANCES: Final = Prepared(
    "replace_balances",
    "text[], jsonb[], jsonb[], jsonb[]",
    "UPDATE cards SET lots = changed.lots, lots_expired = changed.lots_expired, debts = changed.debts"
    " FROM unnest($1, $2, $3, $4) AS changed (card, lots, lots_expired, debts) WHERE cards.card = changed.card",
)
_MERGEABLE: Final = frozenset(
    movement for movement, row in MOVEMENTS.items() if row.is_of_lot and row.on_cards and not row.expired
)
"""Movements that put points into lots or take them out, and change nothing else on a card."""


def changes_of_cards(
    unit: str,
    opened: Mapping[CardToken, EntryIndex],
    postings: Sequence[EntryPosting],
    after: Mapping[CardToken, Card],
) -> Iterator[Statement]:
    """What makes the table of cards hold ``after``. What postings do not touch has not changed.

    ``opened`` are the new cards, each with the entry that opened it. It is a LogDamagedError if a card that should be
    there is not.
    """
    changes: dict[CardToken, str] = {}
    replaced: set[CardToken] = set()
    mergeable = _MERGEABLE
    for _, _, (card, movement, issuer, _, expires_on, issued_in, _, lot_unit) in postings:
        if movement not in mergeable or expires_on is None:
            replaced.add(card)
            continue
        key, name = _lot(issuer, issued_in, expires_on, lot_unit)
        lot = after[card].lots.get(key)
        if lot is None or not lot[0]:  # merging can add and change points, and not remove them
            replaced.add(card)
        elif card in changes:
            changes[card] = f"{changes[card]},{name}:{lot[0]}"
        else:
            changes[card] = f"{name}:{lot[0]}"

    if opened:
        new = [f"{card}\t{unit}\t{index}\t" + "\t".join(_balances(after[card])) for card, index in opened.items()]
        yield copy_of_rows("cards", ("card", "unit", "opened_at_index", "lots", "lots_expired", "debts"), new)
    for card in changes.keys() & (replaced | opened.keys()):
        del changes[card]
    if changes:
        # Members of a JSON object; the last of equal names counts.
        lots = [f"{{{members}}}" for members in changes.values()]
        changed = (array_literal(changes), array_literal(lots))
        yield Execution(_CHANGE_LOTS, changed, len(changes), "cards")
    if cards := [after[card] for card in replaced - opened.keys()]:
        tokens = array_literal([card.token for card in cards])
        balances = map(array_literal, zip(*map(_balances, cards), strict=True))
        yield Execution(_REPLACE_BALANCES, (tokens, *balances), len(cards), "cards")


def _balances(card: Card) -> tuple[str, str, str]:
    """The columns of lots, lots expired and debts."""
    named = [(lot_name(key), lot) for key, lot in card.lots.items()]
    return (
        _object({name: lot.points for name, lot in named if lot.points}),
        _object({name: lot.points_expired for name, lot in named if lot.points_expired}),
        _object(card.debts),
    )


def _object(points: dict[str, Points] | Mapping[MerchantId, Points]) -> str:
    return json.dumps(dict(points)) if points else "{}"


@lru_cache(maxsize=65_536)
def _lot(issuer: MerchantId, issued_in: datetime.date, expires_on: datetime.date, unit: str) -> tuple[LotKey, str]:
    """A lot's key, and its name as JSON has it."""
    key = LotKey(issuer, issued_in, expires_on, unit)
    return key, json.dumps(lot_name(key))
