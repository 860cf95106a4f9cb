"""The head of the log: one row that every batch swaps, so that of two writers only one can commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from clearing.errors import ClearingError
from clearing.model import Instant
from clearing.store.bulk import Prepared, execute_prepared
from clearing.store.tables import log_head

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one


_SWAP_HEAD: Final = Prepared(
    "swap_head",
    "bigint, bytea, bigint, text, bigint, bytea",
    "UPDATE log_head SET size = $1, root = $2, accepted_at = $3, checkpoint = $4 WHERE size = $5 AND root = $6",
)


class FencedError(ClearingError):
    """Another writer has grown the log in the meantime; nothing of this batch is recorded."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest committed state of the log."""

    size: int
    """Number of entries."""
    root: bytes
    """Root of the tree of all entries."""
    accepted_at: Instant
    """Of the last entry."""
    checkpoint: str
    """The signed note over size and root."""


def read_head(connection: Connection) -> Head | None:
    """The head; None while the log is empty."""
    row = connection.execute(
        select(log_head.c.size, log_head.c.root, log_head.c.accepted_at, log_head.c.checkpoint)
    ).one_or_none()
    return None if row is None else Head(row.size, bytes(row.root), Instant(row.accepted_at), row.checkpoint)


def swap_head(cursor: Cursor, old: Head | None, new: Head) -> None:
    """Put ``new`` in the place of ``old``, or make it the first head where ``old`` is None.

    A second writer waits here until the first has committed or rolled back.

    Raises FencedError if ``old`` is not the head any more; the caller rolls back.
    """
    values = (new.size, new.root, new.accepted_at, new.checkpoint)
    if old is None:
        cursor.execute(
            "INSERT INTO log_head (size, root, accepted_at, checkpoint) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            values,
        )
    else:
        assert new.size > old.size, "the log only grows"
        assert new.accepted_at >= old.accepted_at, "time never goes back"
        execute_prepared(cursor, _SWAP_HEAD, *values, old.size, old.root)
    if cursor.rowcount != 1:
        raise FencedError(
            f"Another writer has grown the log beyond {old.size if old else 0} entries. This process records nothing "
            "any more: stop it, or let it start again as a standby."
        )
