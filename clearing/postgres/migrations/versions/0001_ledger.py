"""The log, the ledger and its references.

No FOREIGN KEY and no serial number: the tables are projections of the log, written by one writer, and shardable: cards
by card, transactions by merchant, the rest by entry. Columns stand in the order that wastes no room on alignment; text
is compared byte by byte.
"""

from __future__ import annotations

from alembic import op

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
COMMENT ON COLUMN cards.lots IS 'Points there are, by date of expiry and issuer ("2026-12-31 bakery"); never a zero.';
COMMENT ON COLUMN cards.lots_expired IS
    'Points that were there and have been booked as expired, by date of expiry and issuer; never a zero.';
COMMENT ON COLUMN cards.debts IS 'Points of refunded earns that had been spent, by creditor; never a zero.';

CREATE VIEW lots AS
SELECT
    card,
    unit,
    substr(lot, 12) COLLATE "C" AS issuer,
    substr(lot, 1, 10)::date AS expires_on,
    coalesce((lots ->> lot)::bigint, 0) AS points,
    coalesce((lots_expired ->> lot)::bigint, 0) AS points_expired
FROM cards, jsonb_object_keys(lots || lots_expired) AS lot;
COMMENT ON VIEW lots IS 'What cards hold, by issuer and date of expiry.';

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
COMMENT ON COLUMN transactions.decided_on IS 'Local day of the decision, whose prices apply.';

CREATE TABLE postings (
    entry_index bigint NOT NULL,
    points bigint NOT NULL,
    expires_on date,
    priced_on date NOT NULL,
    position smallint NOT NULL,
    line smallint NOT NULL,
    movement smallint NOT NULL,
    card text COLLATE "C" NOT NULL,
    unit text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    redeemer text COLLATE "C",
    PRIMARY KEY (entry_index, position, line),
    CONSTRAINT postings_points CHECK (points > 0),
    CONSTRAINT postings_movement CHECK (movement BETWEEN 1 AND 10),
    CONSTRAINT postings_redeemer CHECK ((redeemer IS NOT NULL) = (movement IN (2, 4, 9))),
    CONSTRAINT postings_expires_on CHECK ((expires_on IS NOT NULL) = (movement <= 6))
);
COMMENT ON TABLE postings IS 'Points moved from one account to another; the view journal names the accounts.';
COMMENT ON COLUMN postings.movement IS 'Number of a movement; the view journal names it and its two accounts.';
COMMENT ON COLUMN postings.priced_on IS 'Local day whose prices apply.';
"""

JOURNAL = """
CREATE VIEW journal AS
SELECT
    entry_index,
    position,
    line,
    (ARRAY['earn', 'burn', 'earn refunded', 'burn refunded', 'expiry', 'expiry reversed', 'debt incurred',
           'earn to debt', 'earn to creditor', 'debt reinstated'])[movement] AS movement,
    CASE
        WHEN movement IN (1, 8, 9, 10) THEN 'issued/' || issuer
        WHEN movement IN (2, 3, 5) THEN 'card/' || card
        WHEN movement = 4 THEN 'owed/' || issuer || '/' || redeemer
        WHEN movement = 6 THEN 'expired/' || issuer
        WHEN movement = 7 THEN 'debt/' || card || '/' || issuer
    END AS debit_account,
    CASE
        WHEN movement IN (1, 4) THEN 'card/' || card
        WHEN movement IN (2, 9) THEN 'owed/' || issuer || '/' || redeemer
        WHEN movement IN (3, 6, 7) THEN 'issued/' || issuer
        WHEN movement = 5 THEN 'expired/' || issuer
        WHEN movement IN (8, 10) THEN 'debt/' || card || '/' || issuer
    END AS credit_account,
    points,
    unit,
    expires_on,
    priced_on
FROM postings;
COMMENT ON VIEW journal IS 'The postings for people, with the names of the debit and credit accounts.';
"""


def upgrade() -> None:
    for statements in (LOG, LEDGER, JOURNAL):
        op.execute(statements)
