"""What cards hold and owe, written by difference: only rows that are new, changed or gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from clearing.model import CardToken, MerchantId, Points
from clearing.rules.card import Card, Lot, LotKey
from clearing.store.bulk import PROBE_INDEXES, array_literal, copy_rows
from clearing.store.database_errors import StoredStateError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one

_NO_LOTS: Final[Mapping[LotKey, Lot]] = {}
_NO_DEBTS: Final[Mapping[MerchantId, Points]] = {}


@dataclass(frozen=True, slots=True)
class Differences:
    """Rows of one table: keys as columns of texts, values as columns of numbers."""

    new: list[tuple[str, ...]] = field(default_factory=list)
    changed: list[tuple[str, ...]] = field(default_factory=list)
    gone: list[tuple[str, ...]] = field(default_factory=list)


def record_balances(
    cursor: Cursor, unit: str, before: Mapping[CardToken, Card], after: Mapping[CardToken, Card]
) -> None:
    """Make the tables of lots and debts, which hold ``before``, hold ``after``.

    Raises StoredStateError if a row that should be there is not.
    """
    lots, debts = Differences(), Differences()
    for token, card in after.items():
        known = before.get(token)
        _compare_lots(lots, token, known.lots if known is not None else _NO_LOTS, card.lots)
        if card.debts or (known is not None and known.debts):
            _compare_debts(debts, token, known.debts if known is not None else _NO_DEBTS, card.debts)
    _record_lots(cursor, unit, lots)
    _record_debts(cursor, unit, debts)


def _compare_lots(
    found: Differences, token: CardToken, before: Mapping[LotKey, Lot], after: Mapping[LotKey, Lot]
) -> None:
    for key, lot in after.items():
        known = before.get(key)
        if known is None:
            found.new.append((token, key[0], str(key[1]), str(lot[0]), str(lot[1])))
        elif known is not lot and known != lot:
            found.changed.append((token, key[0], str(key[1]), str(lot[0]), str(lot[1])))
    found.gone.extend((token, issuer, str(expires_on)) for issuer, expires_on in before.keys() - after.keys())


def _compare_debts(
    found: Differences, token: CardToken, before: Mapping[MerchantId, Points], after: Mapping[MerchantId, Points]
) -> None:
    for creditor, points in after.items():
        if creditor not in before:
            found.new.append((token, creditor, str(points)))
        elif before[creditor] != points:
            found.changed.append((token, creditor, str(points)))
    found.gone.extend((token, creditor) for creditor in before.keys() - after.keys())


def _record_lots(cursor: Cursor, unit: str, lots: Differences) -> None:
    rows = [
        f"{card}\t{unit}\t{issuer}\t{expires_on}\t{points}\t{points_expired}"
        for card, issuer, expires_on, points, points_expired in lots.new
    ]
    copy_rows(cursor, "lots", ("card", "unit", "issuer", "expires_on", "points", "points_expired"), rows)
    if lots.changed:
        cursor.execute(
            f"{PROBE_INDEXES} UPDATE lots"  # noqa: S608 - a constant
            " SET points = changed.points, points_expired = changed.points_expired"
            " FROM unnest(%s::text[], %s::text[], %s::date[], %s::bigint[], %s::bigint[])"
            " AS changed (card, issuer, expires_on, points, points_expired)"
            " WHERE lots.card = changed.card AND lots.unit = %s"
            " AND lots.issuer = changed.issuer AND lots.expires_on = changed.expires_on",
            (*_columns(lots.changed), unit),
        )
        expect_rows(cursor, len(lots.changed), "lots")
    if lots.gone:
        cursor.execute(
            f"{PROBE_INDEXES} DELETE FROM lots"  # noqa: S608 - a constant
            " USING unnest(%s::text[], %s::text[], %s::date[]) AS gone (card, issuer, expires_on)"
            " WHERE lots.card = gone.card AND lots.unit = %s"
            " AND lots.issuer = gone.issuer AND lots.expires_on = gone.expires_on",
            (*_columns(lots.gone), unit),
        )
        expect_rows(cursor, len(lots.gone), "lots")


def _record_debts(cursor: Cursor, unit: str, debts: Differences) -> None:
    rows = [f"{card}\t{unit}\t{creditor}\t{points}" for card, creditor, points in debts.new]
    copy_rows(cursor, "debts", ("card", "unit", "creditor", "points"), rows)
    if debts.changed:
        cursor.execute(
            f"{PROBE_INDEXES} UPDATE debts SET points = changed.points"  # noqa: S608 - a constant
            " FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS changed (card, creditor, points)"
            " WHERE debts.card = changed.card AND debts.unit = %s AND debts.creditor = changed.creditor",
            (*_columns(debts.changed), unit),
        )
        expect_rows(cursor, len(debts.changed), "debts")
    if debts.gone:
        cursor.execute(
            f"{PROBE_INDEXES} DELETE FROM debts"  # noqa: S608 - a constant
            " USING unnest(%s::text[], %s::text[]) AS gone (card, creditor)"
            " WHERE debts.card = gone.card AND debts.unit = %s AND debts.creditor = gone.creditor",
            (*_columns(debts.gone), unit),
        )
        expect_rows(cursor, len(debts.gone), "debts")


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    return [array_literal(column) for column in zip(*rows, strict=True)]


def expect_rows(cursor: Cursor, expected: int, what: str) -> None:
    """Raise StoredStateError unless the last statement touched so many rows."""
    if cursor.rowcount != expected:
        raise StoredStateError(
            f"{expected} {what} were to be changed, and the database has {cursor.rowcount} of them. The tables have "
            "been changed by other means than this program: rebuild them from the log."
        )
