"""The tables, as queries name them.

What makes them (storage, checks, comments) is in ``migrations/versions``; a test compares the two. Numbers of kinds,
outcomes and movements are those of ``TransactionKind``, ``Outcome`` and ``Movement``.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from clearing.rules.movements import MOVEMENTS

metadata: Final = MetaData()


def _whole_number(name: str, *, primary_key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=primary_key, autoincrement=False, nullable=False)


def _small_number(name: str, *, primary_key: bool = False) -> Column[int]:
    return Column(name, SmallInteger, primary_key=primary_key, autoincrement=False, nullable=False)


def _text(name: str, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    """Text compared byte by byte, as Python compares ASCII."""
    return Column(name, Text(collation="C"), primary_key=primary_key, nullable=nullable)


log_head: Final = Table(
    "log_head",
    metadata,
    Column("only_row", Boolean, primary_key=True, server_default="true"),
    _whole_number("size"),
    _whole_number("accepted_at"),
    Column("root", LargeBinary, nullable=False),
    Column("checkpoint", Text, nullable=False),
)

entries: Final = Table(
    "entries",
    metadata,
    _whole_number("index", primary_key=True),
    _whole_number("accepted_at"),
    Column("entry", LargeBinary, nullable=False),
)

tiles: Final = Table(
    "tiles",
    metadata,
    _small_number("level", primary_key=True),
    _whole_number("number", primary_key=True),
    Column("hashes", LargeBinary, nullable=False),
)

instructions: Final = Table(
    "instructions",
    metadata,
    _whole_number("entry_index", primary_key=True),
    Column("content_digest", Uuid),
    _text("merchant", nullable=True),
    _text("reference", nullable=True),
    Index(
        "instructions_reference",
        "reference",
        "merchant",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("reference IS NOT NULL"),
    ),
)

window_starts: Final = Table("window_starts", metadata, _text("window", primary_key=True), _whole_number("first_index"))

cards: Final = Table(
    "cards",
    metadata,
    _whole_number("opened_at_index"),
    _text("card", primary_key=True),
    _text("unit"),
    Column("lots", JSONB, nullable=False),
    Column("lots_expired", JSONB, nullable=False),
    Column("debts", JSONB, nullable=False),
    Index("cards_by_hash", "card", postgresql_using="hash"),
)

transactions: Final = Table(
    "transactions",
    metadata,
    _whole_number("entry_index"),
    _whole_number("points"),
    _whole_number("points_available"),
    _whole_number("points_owed"),
    _whole_number("points_refunded"),
    Column("decided_on", Date, nullable=False),
    _small_number("position"),
    _small_number("kind"),
    _small_number("outcome"),
    Column("content_digest", Uuid, nullable=False),
    _text("card"),
    _text("merchant", primary_key=True),
    _text("store"),
    _text("reference", primary_key=True),
    _text("lots", nullable=True),
    Index("transactions_of_merchant", "merchant", "entry_index"),
    Index("transactions_of_card", "card", postgresql_using="hash"),
)

movements: Final = Table(
    "movements",
    metadata,
    _small_number("movement", primary_key=True),
    _small_number("on_cards"),
    _small_number("issued"),
    _small_number("redeemed"),
    _small_number("expired"),
    _small_number("owed_by_cards"),
    Column("is_of_lot", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("debit_account", Text, nullable=False),
    Column("credit_account", Text, nullable=False),
    Column("tally", Text),
)


def movement_rows() -> list[dict[str, Any]]:
    """What the table of movements holds: the rules' table, a row a movement."""
    return [
        {
            "movement": int(movement),
            "on_cards": row.on_cards,
            "issued": row.issued,
            "redeemed": row.redeemed,
            "expired": row.expired,
            "owed_by_cards": row.owed_by_cards,
            "is_of_lot": row.is_of_lot,
            "name": movement.name.lower().replace("_", " "),
            "debit_account": row.debit.value,
            "credit_account": row.credit.value,
            "tally": row.tally.value if row.tally is not None else None,
        }
        for movement, row in MOVEMENTS.items()
    ]


postings: Final = Table(
    "postings",
    metadata,
    _whole_number("entry_index", primary_key=True),
    _whole_number("points"),
    Column("expires_on", Date),
    Column("issued_in", Date, nullable=False),
    _small_number("position", primary_key=True),
    _small_number("line", primary_key=True),
    _small_number("movement"),
    _text("card"),
    _text("unit"),
    _text("issuer"),
    _text("redeemer", nullable=True),
)

summed_stretches: Final = Table(
    "summed_stretches",
    metadata,
    _whole_number("first_index", primary_key=True),
    _whole_number("end_index"),
    UniqueConstraint("end_index"),
)

flow_sums: Final = Table(
    "flow_sums",
    metadata,
    _whole_number("first_index"),
    Column("points", Numeric, nullable=False),
    Column("issued_in", Date, nullable=False),
    _small_number("movement"),
    _text("unit"),
    _text("issuer"),
    _text("redeemer", nullable=True),
    Index(
        "flow_sums_key",
        "first_index",
        "movement",
        "issuer",
        "redeemer",
        "issued_in",
        "unit",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
)

flow_totals: Final = Table(
    "flow_totals",
    metadata,
    _whole_number("end_index", primary_key=True),
    Column("points", Numeric, nullable=False),
    _small_number("movement", primary_key=True),
    _text("issuer", primary_key=True),
)

views: Final = MetaData()

lots: Final = Table(
    "lots",
    views,
    _text("card"),
    _text("unit"),
    _text("issuer"),
    Column("issued_in", Date, nullable=False),
    Column("expires_on", Date, nullable=False),
    _whole_number("points"),
    _whole_number("points_expired"),
)
"""A view: what ``cards.lots`` and ``cards.lots_expired`` hold, a row a lot."""
