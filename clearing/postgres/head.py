"""The head of the log: one row that every batch swaps, so that of two writers only one can commit."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from clearing.deciding.batch_record import Head
from clearing.errors import ClearingError, require_identity
from clearing.model import Instant
from clearing.postgres.bulk import Prepared
from clearing.postgres.sql import Execution
from clearing.postgres.tables import log_head

_FIRST_HEAD: Final = Prepared(
    "first_head",
    "bigint, bytea, bigint, text",
    "INSERT INTO log_head (size, root, accepted_at, checkpoint) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
)
_SWAP_HEAD: Final = Prepared(
    "swap_head",
    "bigint, bytea, bigint, text, bigint, bytea",
    "UPDATE log_head SET size = $1, root = $2, accepted_at = $3, checkpoint = $4 WHERE size = $5 AND root = $6",
)


class FencedError(ClearingError):
    """Another writer has grown the log in the meantime; nothing of this batch is recorded."""


def read_head(connection: Connection) -> Head | None:
    """The head; None while the log is empty."""
    row = connection.execute(
        select(log_head.c.size, log_head.c.root, log_head.c.accepted_at, log_head.c.checkpoint)
    ).one_or_none()
    return None if row is None else Head(row.size, bytes(row.root), Instant(row.accepted_at), row.checkpoint)


def swap_of_heads(old: Head | None, new: Head) -> Execution:
    """What puts ``new`` in the place of ``old``, or makes it the first head where ``old`` is None.

    A second writer waits there until the first has committed or rolled back. It is a FencedError if ``old`` is not the
    head any more.
    """
    values = (new.size, new.root, new.accepted_at, new.checkpoint)
    if old is None:
        return Execution(_FIRST_HEAD, values, 1, "heads", fenced(0))
    require_identity(new.size > old.size, "the log only grows")
    require_identity(new.accepted_at >= old.accepted_at, "the ledger's time never goes back")
    return Execution(_SWAP_HEAD, (*values, old.size, old.root), 1, "heads", fenced(old.size))


def fenced(size: int) -> FencedError:
    """The error of a writer that took the log to have so many entries, and it has more."""
    return FencedError(
        f"Another writer has grown the log beyond {size} entries. This process records nothing any more: stop it, or "
        "let it start again as a standby."
    )
