"""The log, the ledger and its references.

No FOREIGN KEY and no serial number: the tables are projections of the log, written by one writer, and shardable: cards
by card, transactions by merchant, the rest by entry. Columns stand in the order that wastes no room on alignment; text
is compared byte by byte.
"""

from __future__ import annotations

from alembic import op

from clearing.postgres.tables import movement_rows, movements
from clearing.rules.movements import MOVEMENTS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LOG = """
CREATE TABLE log_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    size bigint NOT NULL CHECK (size > 0),
    accepted_at bigint NOT NULL,
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    checkpoint text NOT NULL
);
COMMENT ON TABLE log_head IS 'The newest checkpoint. Every batch swaps this row, which fences a second writer.';
COMMENT ON COLUMN log_head.accepted_at IS 'Of the last entry, microseconds since 1970-01-01T00:00:00Z.';

CREATE TABLE entries (
    index bigint PRIMARY KEY,
    accepted_at bigint NOT NULL,
    entry bytea NOT NULL
);
-- Signatures do not compress: trying would cost time for nothing. The same holds for hashes.
ALTER TABLE entries ALTER COLUMN entry SET STORAGE EXTERNAL;
COMMENT ON TABLE entries IS 'The leaves of the log: serialised clearing.v1.Entry messages.';

CREATE TABLE tiles (
    level smallint NOT NULL,
    number bigint NOT NULL,
    hashes bytea NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
    PRIMARY KEY (level, number)
);
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE tiles IS
    'Hash tiles of the log (C2SP tlog-tiles): of level 0 full ones, of others also the last as far as it has grown.';

CREATE TABLE instructions (
    entry_index bigint PRIMARY KEY,
    content_digest uuid,
    merchant text COLLATE "C",
    reference text COLLATE "C",
    CONSTRAINT instructions_content CHECK ((reference IS NULL) = (content_digest IS NULL))
);
CREATE UNIQUE INDEX instructions_reference ON instructions (reference, merchant) NULLS NOT DISTINCT
    WHERE reference IS NOT NULL;
COMMENT ON TABLE instructions IS 'Which entries are instructions: the directory is rebuilt from these alone.';
COMMENT ON COLUMN instructions.merchant IS 'The party whose reference it is: a merchant, or with NULL the alliance.';
COMMENT ON COLUMN instructions.reference IS 'NULL where it had been used before, with other content.';

CREATE TABLE window_starts (
    "window" text COLLATE "C" PRIMARY KEY,
    first_index bigint NOT NULL
);
COMMENT ON TABLE window_starts IS 'For each month that has entries, the first of them.';
"""

LEDGER = """
CREATE TABLE cards (
    opened_at_index bigint NOT NULL,
    card text COLLATE "C" PRIMARY KEY,
    unit text COLLATE "C" NOT NULL,
    lots jsonb NOT NULL,
    lots_expired jsonb NOT NULL,
    debts jsonb NOT NULL,
    CONSTRAINT cards_objects CHECK (
        jsonb_typeof(lots) = 'object' AND jsonb_typeof(lots_expired) = 'object' AND jsonb_typeof(debts) = 'object'
    )
) WITH (fillfactor = 80);
-- Every batch probes some thousand cards: a hash takes half as long as the tree that keeps them unique.
CREATE INDEX cards_by_hash ON cards USING hash (card);
COMMENT ON TABLE cards IS 'What cards hold and owe, a row a card; the views lots and debts have a row a balance.';
COMMENT ON COLUMN cards.lots IS
    'Points there are, by last day, month of issue, unit and issuer ("2026-12-31 2025-12 PTS bakery"); never a zero.';
COMMENT ON COLUMN cards.lots_expired IS
    'Points that were there and have been booked as expired, by the same names; never a zero.';
COMMENT ON COLUMN cards.debts IS 'Points of refunded earns that had been spent, by creditor; never a zero.';

CREATE VIEW lots AS
SELECT
    card,
    split_part(lot, ' ', 3) COLLATE "C" AS unit,
    substr(lot, 21 + length(split_part(lot, ' ', 3))) COLLATE "C" AS issuer,
    (split_part(lot, ' ', 2) || '-01')::date AS issued_in,
    split_part(lot, ' ', 1)::date AS expires_on,
    coalesce((lots ->> lot)::bigint, 0) AS points,
    coalesce((lots_expired ->> lot)::bigint, 0) AS points_expired
FROM cards, jsonb_object_keys(lots || lots_expired) AS lot;
COMMENT ON VIEW lots IS 'What cards hold, by issuer, month of issue and last day.';

CREATE VIEW debts AS
SELECT card, unit, creditor COLLATE "C" AS creditor, points::bigint AS points
FROM cards, jsonb_each_text(debts) AS debt (creditor, points);
COMMENT ON VIEW debts IS 'What cards owe: points of refunded earns that had been spent.';

CREATE TABLE transactions (
    entry_index bigint NOT NULL,
    points bigint NOT NULL,
    points_available bigint NOT NULL,
    points_owed bigint NOT NULL,
    points_refunded bigint NOT NULL,
    decided_on date NOT NULL,
    position smallint NOT NULL,
    kind smallint NOT NULL,
    outcome smallint NOT NULL,
    content_digest uuid NOT NULL,
    card text COLLATE "C" NOT NULL,
    merchant text COLLATE "C" NOT NULL,
    store text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    lots text COLLATE "C",
    PRIMARY KEY (merchant, reference),
    CONSTRAINT transactions_outcome CHECK (outcome > 0 AND (outcome = 1 OR points = 0)),
    CONSTRAINT transactions_kind CHECK (kind BETWEEN 1 AND 4),
    CONSTRAINT transactions_points CHECK (
        points >= 0 AND points_available >= 0 AND points_owed >= 0 AND points_refunded BETWEEN 0 AND points
    )
);
-- References mostly count up, and entry indexes do: either index grows at a few places that stay in memory.
CREATE INDEX transactions_of_merchant ON transactions (merchant, entry_index);
-- Whether a merchant has presented a card; half the size of a tree.
CREATE INDEX transactions_of_card ON transactions USING hash (card);
COMMENT ON TABLE transactions IS 'Every decided transaction, accepted or refused, under its merchant''s reference.';
COMMENT ON COLUMN transactions.kind IS '1 open card, 2 earn, 3 burn, 4 refund.';
COMMENT ON COLUMN transactions.outcome IS 'Number in clearing.v1.Outcome; 1 is accepted.';
COMMENT ON COLUMN transactions.decided_on IS 'Local day of the decision.';
COMMENT ON COLUMN transactions.lots IS
    'The lots that an earn went into or a burn came out of, in order, as "points name" with semicolons between.';

"""

MOVEMENTS_TABLE = """
CREATE TABLE movements (
    movement smallint PRIMARY KEY,
    on_cards smallint NOT NULL,
    issued smallint NOT NULL,
    redeemed smallint NOT NULL,
    expired smallint NOT NULL,
    owed_by_cards smallint NOT NULL,
    is_of_lot boolean NOT NULL,
    name text NOT NULL,
    debit_account text NOT NULL,
    credit_account text NOT NULL,
    tally text
);
COMMENT ON TABLE movements IS 'What a movement of points means: the rules'' table, for the books and the journal.';
COMMENT ON COLUMN movements.debit_account IS 'Form of the account''s name: issuer, redeemer and card fill it.';
"""

POSTINGS = """
CREATE TABLE postings (
    entry_index bigint NOT NULL,
    points bigint NOT NULL,
    expires_on date,
    issued_in date NOT NULL,
    position smallint NOT NULL,
    line smallint NOT NULL,
    movement smallint NOT NULL,
    card text COLLATE "C" NOT NULL,
    unit text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    redeemer text COLLATE "C",
    PRIMARY KEY (entry_index, position, line),
    CONSTRAINT postings_points CHECK (points > 0),
    CONSTRAINT postings_movement CHECK (movement IN ({all_movements})),
    CONSTRAINT postings_redeemer CHECK ((redeemer IS NOT NULL) = (movement IN ({with_redeemer}))),
    CONSTRAINT postings_expires_on CHECK ((expires_on IS NOT NULL) = (movement IN ({of_lots})))
);
COMMENT ON TABLE postings IS 'Points moved from one account to another; the view journal names the accounts.';
COMMENT ON COLUMN postings.movement IS 'Number of a movement; the view journal names it and its two accounts.';
COMMENT ON COLUMN postings.issued_in IS 'First day of the month in which the points were issued: its prices apply.';
"""

JOURNAL = """
CREATE VIEW journal AS
SELECT
    entry_index,
    position,
    line,
    movements.name AS movement,
    replace(replace(replace(debit_account, '{issuer}', issuer), '{card}', card), '{redeemer}', coalesce(redeemer, ''))
        AS debit_account,
    replace(replace(replace(credit_account, '{issuer}', issuer), '{card}', card), '{redeemer}', coalesce(redeemer, ''))
        AS credit_account,
    points,
    unit,
    issued_in,
    expires_on
FROM postings JOIN movements USING (movement);
COMMENT ON VIEW journal IS 'The postings for people, with the names of the debit and credit accounts.';
"""

SUMS = """
CREATE TABLE summed_stretches (
    first_index bigint PRIMARY KEY,
    end_index bigint NOT NULL UNIQUE,
    CONSTRAINT summed_stretches_range CHECK (0 <= first_index AND first_index < end_index)
);
COMMENT ON TABLE summed_stretches IS
    'Stretches of the log whose postings are summed, each beginning where the one before ends. Derived.';

CREATE TABLE flow_sums (
    first_index bigint NOT NULL,
    points numeric NOT NULL CHECK (points > 0),
    issued_in date NOT NULL,
    movement smallint NOT NULL,
    unit text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    redeemer text COLLATE "C"
);
CREATE UNIQUE INDEX flow_sums_key ON flow_sums (first_index, movement, issuer, redeemer, issued_in, unit)
    NULLS NOT DISTINCT;
COMMENT ON TABLE flow_sums IS 'What the postings of a summed stretch come to.';
COMMENT ON COLUMN flow_sums.first_index IS 'Of the stretch.';

CREATE TABLE flow_totals (
    end_index bigint NOT NULL,
    points numeric NOT NULL CHECK (points > 0),
    movement smallint NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    PRIMARY KEY (end_index, movement, issuer)
);
COMMENT ON TABLE flow_totals IS 'What all postings from the log''s beginning to the end of a summed stretch come to.';
COMMENT ON COLUMN flow_totals.end_index IS 'Of the stretch.';
"""


def upgrade() -> None:
    for statements in (LOG, LEDGER, MOVEMENTS_TABLE):
        op.execute(statements)
    op.bulk_insert(movements, movement_rows())
    numbers = {
        "all_movements": MOVEMENTS,
        "with_redeemer": (movement for movement, row in MOVEMENTS.items() if row.has_redeemer),
        "of_lots": (movement for movement, row in MOVEMENTS.items() if row.is_of_lot),
    }
    op.execute(POSTINGS.format(**{name: ", ".join(str(int(each)) for each in of) for name, of in numbers.items()}))
    for statements in (JOURNAL, SUMS):
        op.execute(statements)
