"""Do the books balance? The ledger's invariants, asked of the tables in whole (docs/architecture.md).

Balances, transactions and stored sums are compared with what the postings come to, so a row that was changed by hand
shows.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

COMPLAINTS_PER_CHECK: Final = 20
"""A broken ledger is broken in one place or in all; nobody reads a million lines."""

LOTS: Final = """
WITH booked AS (
    SELECT card, unit, issuer, issued_in, expires_on,
        sum(points * on_cards) AS points, sum(points * expired) AS points_expired
    FROM postings JOIN movements USING (movement) WHERE is_of_lot
    GROUP BY card, unit, issuer, issued_in, expires_on
)
SELECT format(
    '%s holds %s points of %s issued in %s and expiring %s (%s expired); its postings come to %s (%s expired)',
    card, coalesce(lots.points, 0), issuer, to_char(issued_in, 'YYYY-MM'), expires_on, coalesce(lots.points_expired, 0),
    coalesce(booked.points, 0), coalesce(booked.points_expired, 0))
FROM lots FULL JOIN booked USING (card, unit, issuer, issued_in, expires_on)
WHERE coalesce(lots.points, 0) <> coalesce(booked.points, 0)
   OR coalesce(lots.points_expired, 0) <> coalesce(booked.points_expired, 0)
"""

DEBTS: Final = """
WITH booked AS (
    SELECT card, unit, issuer AS creditor, sum(points * owed_by_cards) AS points
    FROM postings JOIN movements USING (movement) WHERE owed_by_cards <> 0
    GROUP BY card, unit, issuer
)
SELECT format('%s owes %s points to %s; its postings come to %s',
    card, coalesce(debts.points, 0), creditor, coalesce(booked.points, 0))
FROM debts FULL JOIN booked USING (card, unit, creditor)
WHERE coalesce(debts.points, 0) <> coalesce(booked.points, 0)
"""

ISSUERS: Final = """
WITH accounts AS (
    SELECT issuer, sum(points * issued) AS issued, sum(points * redeemed) AS owed, sum(points * expired) AS expired
    FROM postings JOIN movements USING (movement) GROUP BY issuer
), held AS (
    SELECT issuer, sum(points) AS points FROM lots GROUP BY issuer
), lent AS (
    SELECT creditor AS issuer, sum(points) AS points FROM debts GROUP BY creditor
)
SELECT format('%s issued %s points, owes %s, saw %s expire: that leaves %s, and cards hold %s of it and owe it %s',
    issuer, issued, owed, expired, issued - owed - expired, coalesce(held.points, 0), coalesce(lent.points, 0))
FROM accounts FULL JOIN held USING (issuer) FULL JOIN lent USING (issuer)
WHERE coalesce(issued - owed - expired, 0) <> coalesce(held.points, 0) - coalesce(lent.points, 0)
"""

TRANSACTIONS: Final = """
WITH booked AS (
    SELECT card, entry_index, position,
        sum(points) FILTER (WHERE tally = 'earned') AS earned,
        sum(points) FILTER (WHERE tally = 'burned') AS burned,
        sum(points) FILTER (WHERE tally = 'given_back') AS given_back,
        sum(points) FILTER (WHERE tally = 'taken_back') AS taken_back
    FROM postings JOIN movements USING (movement) GROUP BY card, entry_index, position
), compared AS (
    SELECT entry_index, position, transactions.points AS recorded,
        coalesce(CASE
            WHEN kind = 2 THEN earned
            WHEN kind = 3 THEN burned
            WHEN kind = 4 THEN coalesce(given_back, taken_back)
        END, 0) AS booked,
        kind IS NULL AND instructions.entry_index IS NULL OR outcome <> 1 AND booked.card IS NOT NULL AS unfounded
    FROM transactions
    FULL JOIN booked USING (card, entry_index, position)
    LEFT JOIN instructions USING (entry_index)
)
SELECT CASE
    WHEN unfounded THEN format('entry %s has postings of no accepted transaction %s', entry_index, position)
    ELSE format('transaction %s of entry %s moved %s points; its postings come to %s',
        position, entry_index, recorded, booked)
END
FROM compared WHERE unfounded OR recorded <> booked
"""

REFUNDS: Final = """
SELECT format('%s refunded %s points on %s, and %s are marked as refunded', merchant, refunds, card, marked)
FROM (
    SELECT merchant, card, coalesce(sum(points) FILTER (WHERE kind = 4), 0) AS refunds, sum(points_refunded) AS marked
    FROM transactions WHERE kind = 4 OR points_refunded > 0
    GROUP BY merchant, card
) AS by_card
WHERE refunds <> marked
"""

CARDS: Final = """
SELECT format('%s cards are known, and %s were opened', known, opened)
FROM (SELECT count(*) AS known FROM cards) AS known_cards,
    (SELECT count(*) AS opened FROM transactions WHERE kind = 1 AND outcome = 1) AS opened_cards
WHERE known <> opened
"""

LOG: Final = """
SELECT format('the log has %s entries, the highest is %s, and its head says %s', count, highest, head)
FROM (SELECT count(*) AS count, coalesce(max(index), -1) AS highest FROM entries) AS all_entries,
    (SELECT coalesce(max(size), 0) AS head FROM log_head) AS heads
WHERE count <> head OR highest <> head - 1
"""

STRETCHES: Final = """
SELECT format('the summed stretch of entries %s to %s follows one that ends at %s, in a log of %s entries',
    first_index, end_index, previous_end_index, size)
FROM (
    SELECT first_index, end_index, coalesce(lag(end_index) OVER (ORDER BY first_index), 0) AS previous_end_index
    FROM summed_stretches
) AS stretches, (SELECT coalesce(max(size), 0) AS size FROM log_head) AS heads
WHERE first_index <> previous_end_index OR end_index > size
"""

FLOW_SUMS: Final = """
WITH booked AS (
    SELECT first_index, movement, issuer, coalesce(redeemer, '') AS at, issued_in, unit, sum(points) AS points
    FROM summed_stretches JOIN postings ON entry_index >= first_index AND entry_index < end_index
    GROUP BY first_index, movement, issuer, at, issued_in, unit
), summed AS (
    SELECT first_index, movement, issuer, coalesce(redeemer, '') AS at, issued_in, unit, points FROM flow_sums
)
SELECT format(
    'from entry %s on, %s points of movement %s are summed for %s at %s issued in %s; the postings come to %s',
    first_index, coalesce(summed.points, 0), movement, issuer, at, issued_in, coalesce(booked.points, 0))
FROM booked FULL JOIN summed USING (first_index, movement, issuer, at, issued_in, unit)
WHERE coalesce(summed.points, 0) <> coalesce(booked.points, 0)
"""

FLOW_TOTALS: Final = """
WITH parts AS (
    SELECT summed_stretches.end_index, movement, issuer, points
    FROM summed_stretches JOIN flow_totals ON flow_totals.end_index = first_index
    UNION ALL
    SELECT end_index, movement, issuer, points FROM summed_stretches JOIN flow_sums USING (first_index)
), added AS (
    SELECT end_index, movement, issuer, sum(points) AS points FROM parts GROUP BY end_index, movement, issuer
)
SELECT format('up to entry %s, %s points of movement %s are summed for %s; the sums before come to %s',
    end_index, coalesce(flow_totals.points, 0), movement, issuer, coalesce(added.points, 0))
FROM added FULL JOIN flow_totals USING (end_index, movement, issuer)
WHERE coalesce(flow_totals.points, 0) <> coalesce(added.points, 0)
"""

CHECKS: Final = (
    LOTS,
    DEBTS,
    ISSUERS,
    TRANSACTIONS,
    REFUNDS,
    CARDS,
    LOG,
    STRETCHES,
    FLOW_SUMS,
    FLOW_TOTALS,
)


def check_books(connection: Connection) -> list[str]:
    """What does not balance, a sentence each; empty where all is well. The transaction is a ``snapshot``."""
    complaints: list[str] = []
    for check in CHECKS:
        found = connection.scalars(text(f"{check} LIMIT {COMPLAINTS_PER_CHECK}"))
        complaints.extend(found)
    return complaints
