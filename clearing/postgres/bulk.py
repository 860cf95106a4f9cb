"""Many rows at once: COPY into a table, and arrays as parameters of one prepared statement.

Measured: COPY in text form costs what the binary form does, since Python builds it faster; only byte strings are a
third cheaper in binary form. A parameter written as an array literal spares the server the parsing of single values;
a prepared statement spares it the planning, which is most of what a batch of one transaction costs.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

if TYPE_CHECKING:
    from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class, named as one
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

CHUNK_BYTES: Final = 1 << 18
_SEPARATOR: Final = "\x1f"
"""A character that no identifier, token or reference contains."""

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags and length of the extension area of PostgreSQL's binary COPY format."""
_COPY_TRAILER: Final = b"\xff\xff"
_ENTRY_PREFIX: Final = struct.Struct("!hiqiqi")
"""Number of fields; length and value of two 8-byte integers; length of the byte string that follows."""

_PLAN_BY_INDEX: Final = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL jit = off; SET LOCAL plan_cache_mode = force_generic_plan;"
)
"""In front of a batch's statements. A batch asks for some thousand rows by key; the planner, which expects every page
to come from a disk, would rather read whole tables, and plans may be made anew at any time."""


class Prepared(NamedTuple):
    """A statement that each database session parses and plans once."""

    name: str
    """No other prepared statement has it."""
    parameter_types: str
    """With commas between them."""
    statement: str
    """With ``$1`` for the first parameter."""


class Copy(NamedTuple):
    """Rows to append to a table."""

    statement: str
    """A COPY from standard input."""
    data: bytes
    """The rows, in the statement's format."""


_prepared: Final[WeakKeyDictionary[DriverConnection, set[str]]] = WeakKeyDictionary()
"""Which statements each session knows. A session is used by one thread at a time."""


@contextmanager
def driver_cursor(connection: Connection) -> Iterator[Cursor]:
    """A cursor of the driver below SQLAlchemy, in the connection's transaction: for what runs once a batch."""
    driver_connection = cast("DriverConnection", connection.connection.driver_connection)
    with driver_connection.cursor() as cursor:
        yield cursor


def execute_prepared(cursor: Cursor, prepared: Prepared, *parameters: object) -> None:
    """Execute the statement, in a transaction, by the indexes of its tables."""
    known = _prepared.setdefault(cursor.connection, set())
    if prepared.name not in known:
        cursor.execute(f"PREPARE {prepared.name} ({prepared.parameter_types}) AS {prepared.statement}")
        known.add(prepared.name)  # and it stays known, even if the transaction is rolled back
    placeholders = ", ".join(["%s"] * len(parameters))
    cursor.execute(f"{_PLAN_BY_INDEX} EXECUTE {prepared.name} ({placeholders})", parameters)


def array_literal(items: Collection[str]) -> str:
    """An array of texts in PostgreSQL's notation, to be passed as a parameter and cast."""
    if not items:
        return "{}"
    joined = _SEPARATOR.join(items)
    if "\\" in joined or '"' in joined:
        joined = joined.replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + joined.replace(_SEPARATOR, '","') + '"}'


def copy_of_rows(table: str, columns: Sequence[str], rows: Sequence[str]) -> Copy:
    """What appends rows to a table, each written as its values with tabs between them; an empty value is NULL.

    Values hold printable ASCII only. A tab or a line feed in one would make the row's number of values wrong, which
    the server refuses.
    """
    # Of printable ASCII only the backslash has a meaning in this format; as NULL is not written \N, all are doubled.
    data = "\n".join(rows).replace("\\", "\\\\").encode("ascii")
    return Copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN (NULL '')", data)


def copy_of_entries(rows: Iterable[tuple[int, int, bytes]]) -> Copy:
    """What appends (index, accepted_at, entry) to the table of entries."""
    parts = [_COPY_HEADER]
    for index, accepted_at, entry in rows:
        parts.append(_ENTRY_PREFIX.pack(3, 8, index, 8, accepted_at, len(entry)))
        parts.append(entry)
    parts.append(_COPY_TRAILER)
    return Copy("COPY entries (index, accepted_at, entry) FROM STDIN (FORMAT binary)", b"".join(parts))


def copy_in(cursor: Cursor, copy: Copy) -> None:
    """Append the rows."""
    cursor.copy_expert(copy.statement, io.BytesIO(copy.data), CHUNK_BYTES)
