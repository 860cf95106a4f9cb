"""What a batch writes, as values: made in one place, executed in another, which may be another process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from clearing.errors import ClearingError
from clearing.postgres.bulk import Copy, Prepared, copy_in, execute_prepared
from clearing.postgres.database_errors import LogDamagedError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one


class Execution(NamedTuple):
    """A change of rows by a prepared statement."""

    prepared: Prepared
    parameters: tuple[str | int | bytes, ...]
    rows: int
    """How many rows it must touch."""
    rows_of: str
    """What these rows are, in the plural."""
    otherwise: ClearingError | None = None
    """What it means if it touches more or fewer. None: that the tables are not as they were loaded."""


Statement = Copy | Execution


def execute(cursor: Cursor, statements: Iterable[Statement]) -> None:
    """Execute them in order, in the cursor's transaction.

    Raises an execution's ``otherwise``, or ``LogDamagedError``.
    """
    for statement in statements:
        if isinstance(statement, Copy):
            copy_in(cursor, statement)
        else:
            execute_prepared(cursor, statement.prepared, *statement.parameters)
            if cursor.rowcount != statement.rows:
                raise statement.otherwise or _not_as_loaded(statement, cursor.rowcount)


def _not_as_loaded(statement: Execution, rows_found: int) -> LogDamagedError:
    return LogDamagedError(
        f"{statement.rows} {statement.rows_of} were to be changed, and the database has {rows_found} of them. The "
        "tables have been changed by other means than this program: rebuild them from the log."
    )
