"""The tables, as queries name them.

What makes them (storage, checks, comments) is in ``migrations/versions``; a test compares the two. Numbers of kinds,
outcomes and movements are those of ``KindCode``, ``Outcome`` and ``Movement``.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, LargeBinary, MetaData, SmallInteger, Table, Text, Uuid

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

instructions: Final = Table("instructions", metadata, _whole_number("entry_index", primary_key=True))

window_starts: Final = Table("window_starts", metadata, _text("window", primary_key=True), _whole_number("first_index"))

transaction_references: Final = Table(
    "transaction_references",
    metadata,
    Column("reference_key", Uuid, primary_key=True),
    Column("content_digest", Uuid, nullable=False),
    _whole_number("entry_index"),
    _small_number("position"),
)

cards: Final = Table("cards", metadata, _text("card", primary_key=True), _whole_number("opened_at_index"))

transactions: Final = Table(
    "transactions",
    metadata,
    _whole_number("entry_index", primary_key=True),
    _whole_number("points"),
    _whole_number("points_available"),
    _whole_number("points_owed"),
    _whole_number("points_refunded"),
    Column("decided_on", Date, nullable=False),
    _small_number("position", primary_key=True),
    _small_number("kind"),
    _small_number("outcome"),
    _text("card", primary_key=True),
    _text("merchant"),
    _text("store"),
    _text("reference"),
    Index("transactions_of_merchant", "merchant", "entry_index", "position"),
)

postings: Final = Table(
    "postings",
    metadata,
    _whole_number("entry_index", primary_key=True),
    _whole_number("points"),
    Column("expires_on", Date),
    Column("priced_on", Date, nullable=False),
    _small_number("position", primary_key=True),
    _small_number("line", primary_key=True),
    _small_number("movement"),
    _text("card", primary_key=True),
    _text("unit"),
    _text("issuer"),
    _text("redeemer", nullable=True),
    Index("postings_of_entries", "entry_index", postgresql_using="brin"),
)

lots: Final = Table(
    "lots",
    metadata,
    _whole_number("points"),
    _whole_number("points_expired"),
    Column("expires_on", Date, primary_key=True),
    _text("card", primary_key=True),
    _text("unit", primary_key=True),
    _text("issuer", primary_key=True),
)

debts: Final = Table(
    "debts",
    metadata,
    _whole_number("points"),
    _text("card", primary_key=True),
    _text("unit", primary_key=True),
    _text("creditor", primary_key=True),
)
