"""Reading what settlement works with: postings, summed.

Stretches of the log that are summed already (``clearing.postgres.writing.flow_sums``) are not summed again: only what
lies before the first and behind the last of them is read from the postings. The caller's transaction is a ``snapshot``.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from sqlalchemy import Connection, text

from clearing.model import MerchantId, Points
from clearing.rules.movements import Flow, Movement

FLOWS: Final = text("""
WITH stretches AS (
    SELECT coalesce(min(first_index), :first_index) AS first_index, coalesce(max(end_index), :first_index) AS end_index
    FROM summed_stretches WHERE first_index >= :first_index AND end_index <= :end_index
), parts AS (
    SELECT movement, issuer, redeemer, issued_in, unit, points FROM flow_sums
    WHERE first_index >= (SELECT first_index FROM stretches) AND first_index < (SELECT end_index FROM stretches)
    UNION ALL
    SELECT movement, issuer, redeemer, issued_in, unit, points FROM postings
    WHERE entry_index >= :first_index AND entry_index < (SELECT first_index FROM stretches)
    UNION ALL
    SELECT movement, issuer, redeemer, issued_in, unit, points FROM postings
    WHERE entry_index >= (SELECT end_index FROM stretches) AND entry_index < :end_index
)
SELECT movement, issuer, redeemer, issued_in, unit, sum(points) FROM parts
GROUP BY movement, issuer, redeemer, issued_in, unit ORDER BY movement, issuer, redeemer, issued_in, unit
""")

TOTALS: Final = text("""
WITH stretches AS (
    SELECT coalesce(max(end_index), 0) AS end_index FROM summed_stretches WHERE end_index <= :end_index
), parts AS (
    SELECT movement, issuer, points FROM flow_totals WHERE end_index = (SELECT end_index FROM stretches)
    UNION ALL
    SELECT movement, issuer, points FROM postings
    WHERE entry_index >= (SELECT end_index FROM stretches) AND entry_index < :end_index
)
SELECT movement, issuer, sum(points) FROM parts GROUP BY movement, issuer ORDER BY movement, issuer
""")


def read_flows(connection: Connection, first_index: int, end_index: int) -> list[Flow]:
    """The postings of the entries from ``first_index`` up to, not including, ``end_index``, summed and sorted."""
    rows = connection.execute(FLOWS, {"first_index": first_index, "end_index": end_index})
    return [
        # The sums are numeric, which the driver gives as Decimal: exact, and whole here.
        Flow(
            Movement(movement),
            MerchantId(issuer),
            MerchantId(redeemer) if redeemer else None,
            issued_in,
            unit,
            Points(int(points)),
        )
        for movement, issuer, redeemer, issued_in, unit, points in rows
    ]


def read_points_moved(connection: Connection, end_index: int) -> dict[MerchantId, Counter[Movement]]:
    """The points that each movement moved in all entries before ``end_index``, for each issuer."""
    moved: dict[MerchantId, Counter[Movement]] = {}
    for movement, issuer, points in connection.execute(TOTALS, {"end_index": end_index}):
        moved.setdefault(MerchantId(issuer), Counter())[Movement(movement)] = int(points)
    return moved
