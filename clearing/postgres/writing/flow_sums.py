"""Sums of stretches of the log, so that settling a month need not read every posting there ever was.

Postings are only ever appended, so what a committed stretch comes to never changes. The stretches lie end to end from
the log's beginning, and none reaches across the beginning of a month: a month that is over becomes a whole number of
them. Whoever reads (``clearing.postgres.reading.flows``) sums what is missing from the postings.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from clearing.postgres.database_errors import translated_errors

STRETCH_POSTINGS: Final = 20_000
"""Of one stretch at most, unless one entry has more: a few ten milliseconds of the database's time."""
REST_SECONDS: Final = 0.02
"""Between two stretches that somebody waits for, for those who have more pressing work."""

SUMMED: Final = text("SELECT coalesce(max(end_index), 0) FROM summed_stretches")

NEXT_POSTING: Final = text("""
SELECT entry_index FROM postings WHERE entry_index >= :first_index
ORDER BY entry_index, position, line OFFSET :postings LIMIT 1
""")

NEXT_MONTH: Final = text("SELECT min(first_index) FROM window_starts WHERE first_index > :first_index")

# Whoever else is about to sum this stretch is waited for, and then has done it.
TAKE: Final = text("""
INSERT INTO summed_stretches (first_index, end_index) VALUES (:first_index, :end_index) ON CONFLICT DO NOTHING
""")

SUM: Final = text("""
WITH summed AS (
    INSERT INTO flow_sums (first_index, movement, issuer, redeemer, issued_in, unit, points)
    SELECT :first_index, movement, issuer, redeemer, issued_in, unit, sum(points)
    FROM postings WHERE entry_index >= :first_index AND entry_index < :end_index
    GROUP BY movement, issuer, redeemer, issued_in, unit
    RETURNING movement, issuer, points
), parts AS (
    SELECT movement, issuer, points FROM flow_totals WHERE end_index = :first_index
    UNION ALL
    SELECT movement, issuer, points FROM summed
)
INSERT INTO flow_totals (end_index, movement, issuer, points)
SELECT :end_index, movement, issuer, sum(points) FROM parts GROUP BY movement, issuer
""")


class Stretch(NamedTuple):
    """A range of entries."""

    first_index: int
    end_index: int
    """The first entry after it."""


def sum_next_stretch(
    connection: Connection, *, below: int | None = None, postings: int = STRETCH_POSTINGS
) -> Stretch | None:
    """Sum the stretch behind those that are summed, and return it; None where it is neither full nor its month over.

    It is full with so many ``postings``. With ``below``, None also where it would begin there or later.
    """
    stretch = _next_stretch(connection, postings)
    if stretch is None or (below is not None and stretch.first_index >= below):
        return None
    if connection.execute(TAKE, stretch._asdict()).rowcount:
        connection.execute(SUM, stretch._asdict())
    return stretch


def sum_stretches(engine: Engine, below: int) -> None:
    """Sum all stretches that begin before ``below``, with rests. Raises ``DatabaseUnavailableError``."""
    while True:
        with translated_errors(), engine.begin() as connection:
            stretch = sum_next_stretch(connection, below=below)
        if stretch is None:
            return
        time.sleep(REST_SECONDS)


def _next_stretch(connection: Connection, postings: int) -> Stretch | None:
    """Batches are committed one after the other: where one is seen, everything before it is."""
    first_index = connection.execute(SUMMED).scalar_one()
    begin = {"first_index": first_index}
    ends: list[int] = []
    behind_full = connection.scalar(NEXT_POSTING, {**begin, "postings": postings})
    if behind_full is not None:
        ends.append(max(behind_full, first_index + 1))
    next_month = connection.scalar(NEXT_MONTH, begin)
    if next_month is not None:
        ends.append(next_month)
    return Stretch(first_index, min(ends)) if ends else None
