"""The sales in an outbox's file: every change of one is here, each in one transaction of the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from clearing.model import Instant, Points, Reference
from clearing.v1.entry_pb2 import Receipt
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.outbox.file import OutboxFile
from merchant_gateway.client.outbox.values import FloorLimit, ReferenceTakenError
from merchant_gateway.client.transaction_receipt import TransactionReceipt

ACCEPTED_KEPT = 1_000
"""So many of the newest sales stay after they were accepted, for callers who wait for them or ask again."""


class State(IntEnum):
    """Where a sale stands; the numbers are the file's."""

    QUEUED = 0
    """Not decided, as far as is known here."""
    DONE = 1
    """Accepted; or the reversal of a burn that came to nothing."""
    REFUSED = 2
    """Refused, and nobody has acknowledged it yet."""
    SET_ASIDE = 3
    """Not taken by the gateway as it is."""
    VOID = 4
    """A burn that was withdrawn, and that the alliance refused too."""


@dataclass(frozen=True, slots=True)
class NewSale:
    """A sale to be written."""

    reference: Reference
    content_digest: bytes
    occurred_at: Instant
    points_burned: Points
    """0 unless it is a burn."""
    envelope: Envelope
    is_withdrawn: bool = False


class Sale(NamedTuple):
    """A sale as the file has it: the columns of its table, in their order."""

    number: int
    """Sales are sent in the order of their numbers."""
    reference: Reference
    content_digest: bytes
    occurred_at: Instant
    points_burned: Points
    is_withdrawn: int
    """1: of a burn that the customer was told is not done, or of the refund that makes it so."""
    state: int
    envelope: bytes
    receipt: bytes | None
    position: int | None
    reason: str | None

    def decision(self) -> tuple[Receipt, int]:
        """The receipt of a decided sale as it came, and the sale's place in the receipt's entry."""
        assert self.receipt is not None, "it is decided"
        assert self.position is not None, "it is decided"
        return Receipt.FromString(self.receipt), self.position


class Totals(NamedTuple):
    """Sums over the file."""

    queued: int
    refused: int
    set_aside: int
    points_burned: int
    oldest: int | None
    late_presentment_days: int | None


class Sales:
    """The sales of one outbox. Any thread may use it."""

    def __init__(self, file: OutboxFile) -> None:
        self._file = file

    def add(self, sale: NewSale) -> Sale:
        """Write a sale behind all others; if its reference is there with the same content, that one.

        Raises ``ReferenceTakenError`` if it is there with other content, and what writing to the file raises.
        """
        with self._file.writing() as cursor:
            return self._add(cursor, sale)

    def find(self, reference: Reference) -> Sale | None:
        """The sale of this reference."""
        with self._file.reading() as cursor:
            return self._find(cursor, reference)

    def first_queued(self, count: int, call_bytes: int) -> list[Sale]:
        """The oldest queued sales: at least one, at most so many, of at most so many bytes together."""
        with self._file.reading() as cursor:
            rows = cursor.execute("SELECT * FROM sale WHERE state = ? ORDER BY number LIMIT ?", (State.QUEUED, count))
            batch: list[Sale] = []
            for sale in map(Sale._make, rows):
                # Field number and length, of at most 3 bytes, stand before each envelope.
                call_bytes -= len(sale.envelope) + 4
                if batch and call_bytes < 0:
                    break
                batch.append(sale)
        return batch

    def record(self, decided: Sequence[tuple[Sale, TransactionReceipt, State]]) -> None:
        """Record what sales came to."""
        with self._file.writing() as cursor:
            cursor.executemany(
                "UPDATE sale SET state = ?, receipt = ?, position = ?, reason = NULL WHERE number = ?",
                [
                    (state, receipt.receipt.message().SerializeToString(), receipt.position, sale.number)
                    for sale, receipt, state in decided
                ],
            )
            cursor.execute(
                # What was withdrawn stays: asked for again, it must not be taken for done. It is rare.
                "DELETE FROM sale WHERE state = ? AND NOT is_withdrawn"
                " AND number <= (SELECT max(number) FROM sale) - ?",
                (State.DONE, ACCEPTED_KEPT),
            )

    def set_aside(self, sale: Sale, reason: str) -> None:
        """Take a sale out of the queue."""
        self._update("UPDATE sale SET state = ?, reason = ? WHERE number = ?", State.SET_ASIDE, reason, sale.number)

    def replace_envelope(self, sale: Sale, envelope: Envelope) -> None:
        """The same sale, signed anew."""
        self._update("UPDATE sale SET envelope = ? WHERE number = ?", envelope.SerializeToString(), sale.number)

    def settle_burn(self, sale: Sale, limit: FloorLimit | None, reversal: NewSale) -> bool:
        """Whether the burn stands, decided or waiting within the limit; if not, it is withdrawn, its reversal queued.

        One transaction, so that several tills cannot go beyond the limit together.
        """
        with self._file.writing() as cursor:
            now = self._find(cursor, sale.reference)
            if now is None:
                return True  # accepted, and forgotten since
            if now.state != State.QUEUED:
                return now.state == State.SET_ASIDE or not now.is_withdrawn
            outstanding = self._points_burned(cursor) - now.points_burned
            if not now.is_withdrawn and limit is not None and limit.allows(now.points_burned, outstanding):
                return True
            cursor.execute("UPDATE sale SET is_withdrawn = 1 WHERE number = ?", (now.number,))
            self._add(cursor, reversal)
        return False

    def points_burned(self) -> int:
        """Points of all burns that are not decided and not withdrawn."""
        with self._file.reading() as cursor:
            return self._points_burned(cursor)

    def of_state(self, state: State) -> list[Sale]:
        """All sales that stand so, oldest first."""
        with self._file.reading() as cursor:
            rows = cursor.execute("SELECT * FROM sale WHERE state = ? ORDER BY number", (state,))
            return [Sale._make(row) for row in rows]

    def requeue(self, sale: Sale, envelope: Envelope) -> None:
        """A sale that was set aside, signed anew, back to its place in the queue."""
        statement = "UPDATE sale SET state = ?, reason = NULL, envelope = ? WHERE number = ?"
        self._update(statement, State.QUEUED, envelope.SerializeToString(), sale.number)

    def remove(self, reference: Reference, state: State) -> bool:
        """Forget a sale that stands so; whether there was one."""
        with self._file.writing() as cursor:
            cursor.execute("DELETE FROM sale WHERE reference = ? AND state = ?", (reference, state))
            return cursor.rowcount == 1

    def totals(self) -> Totals:
        """What the file holds that is not settled."""
        with self._file.reading() as cursor:
            counts = dict(cursor.execute("SELECT state, count(*) FROM sale GROUP BY state").fetchall())
            oldest = [
                cursor.execute("SELECT min(occurred_at) FROM sale WHERE state = ?", (state,)).fetchone()[0]
                for state in (State.QUEUED, State.SET_ASIDE)
            ]
            (days,) = cursor.execute("SELECT late_presentment_days FROM outbox").fetchone()
            return Totals(
                queued=counts.get(State.QUEUED, 0),
                refused=counts.get(State.REFUSED, 0),
                set_aside=counts.get(State.SET_ASIDE, 0),
                points_burned=self._points_burned(cursor),
                oldest=min((each for each in oldest if each is not None), default=None),
                late_presentment_days=days,
            )

    def remember_late_presentment_days(self, days: int) -> None:
        """Keep the alliance's limit for times without connection."""
        with self._file.writing() as cursor:
            cursor.execute("UPDATE outbox SET late_presentment_days = ?", (days,))

    def _update(self, statement: str, *values: object) -> None:
        with self._file.writing() as cursor:
            cursor.execute(statement, values)

    def _add(self, cursor: sqlite3.Cursor, sale: NewSale) -> Sale:
        there = self._find(cursor, sale.reference)
        if there is not None:
            if there.content_digest != sale.content_digest:
                raise ReferenceTakenError(
                    f"the outbox {self._file.path} holds another sale under the reference {sale.reference!r}; a new "
                    "sale needs a new reference, and the same sale the same content to the microsecond"
                )
            return there
        cursor.execute(
            "INSERT INTO sale (reference, content_digest, occurred_at, points_burned, is_withdrawn, state, envelope)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                sale.reference,
                sale.content_digest,
                sale.occurred_at,
                sale.points_burned,
                sale.is_withdrawn,
                State.QUEUED,
                sale.envelope.SerializeToString(),
            ),
        )
        added = self._find(cursor, sale.reference)
        assert added is not None, "it was written a moment ago"
        return added

    @staticmethod
    def _find(cursor: sqlite3.Cursor, reference: Reference) -> Sale | None:
        row = cursor.execute("SELECT * FROM sale WHERE reference = ?", (reference,)).fetchone()
        return Sale._make(row) if row is not None else None

    @staticmethod
    def _points_burned(cursor: sqlite3.Cursor) -> int:
        return int(
            cursor.execute(
                "SELECT coalesce(sum(points_burned), 0) FROM sale"
                " WHERE state IN (?, ?) AND points_burned > 0 AND NOT is_withdrawn",
                (State.QUEUED, State.SET_ASIDE),
            ).fetchone()[0]
        )
