"""What a batch writes, as values: made in one place, executed in another, which may be another process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from clearing.errors import ClearingError
from clearing.store.bulk import Copy, Prepared, copy_in, execute_prepared

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one


class Execution(NamedTuple):
    """A change of rows by a prepared statement."""

    prepared: Prepared
    parameters: tuple[str | int | bytes, ...]
    rows: int
    """How many rows it must touch."""
    otherwise: ClearingError
    """What it means if it touches more or fewer."""


Statement = Copy | Execution


def execute(cursor: Cursor, statements: Iterable[Statement]) -> None:
    """Execute them in order, in the cursor's transaction. Raises an execution's ``otherwise``."""
    for statement in statements:
        if isinstance(statement, Copy):
            copy_in(cursor, statement)
        else:
            execute_prepared(cursor, statement.prepared, *statement.parameters)
            if cursor.rowcount != statement.rows:
                raise statement.otherwise
