"""The log, the ledger and its references.

No FOREIGN KEY and no serial number: the tables are projections of the log, written by one writer, and shardable by
card. Columns stand in the order that wastes no room on alignment; text is compared byte by byte.
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
COMMENT ON TABLE tiles IS 'Hash tiles of the log (C2SP tlog-tiles), the last of each level as far as it has grown.';

CREATE TABLE instructions (
    entry_index bigint PRIMARY KEY
);
COMMENT ON TABLE instructions IS 'Which entries are instructions: the directory is rebuilt from these alone.';

CREATE TABLE window_starts (
    "window" text COLLATE "C" PRIMARY KEY,
    first_index bigint NOT NULL
);
COMMENT ON TABLE window_starts IS 'For each month that has entries, the first of them.';
"""

REFERENCES = """
CREATE TABLE transaction_references (
    reference_key uuid PRIMARY KEY,
    content_digest uuid NOT NULL,
    entry_index bigint NOT NULL,
    position smallint NOT NULL
);
COMMENT ON TABLE transaction_references IS 'Every reference ever decided, of transactions and of instructions.';
COMMENT ON COLUMN transaction_references.reference_key IS
    'First 128 bits of SHA-256 of merchant, a zero byte, reference; the merchant is empty for instructions.';
"""

LEDGER = """
CREATE TABLE cards (
    card text COLLATE "C" PRIMARY KEY,
    opened_at_index bigint NOT NULL
);

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
    card text COLLATE "C" NOT NULL,
    merchant text COLLATE "C" NOT NULL,
    store text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    PRIMARY KEY (card, entry_index, position),
    CONSTRAINT transactions_outcome CHECK (outcome > 0 AND (outcome = 1 OR points = 0)),
    CONSTRAINT transactions_kind CHECK (kind BETWEEN 1 AND 4),
    CONSTRAINT transactions_points CHECK (
        points >= 0 AND points_available >= 0 AND points_owed >= 0 AND points_refunded BETWEEN 0 AND points
    )
);
-- Lists a merchant's transactions, and finds what a reference of the merchant's stands for.
CREATE INDEX transactions_of_merchant ON transactions (merchant, entry_index, position);
COMMENT ON TABLE transactions IS 'Every decided transaction, accepted or refused.';
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
    PRIMARY KEY (card, entry_index, position, line),
    CONSTRAINT postings_points CHECK (points > 0),
    CONSTRAINT postings_movement CHECK (movement BETWEEN 1 AND 10),
    CONSTRAINT postings_redeemer CHECK ((redeemer IS NOT NULL) = (movement IN (2, 4, 9))),
    CONSTRAINT postings_expires_on CHECK ((expires_on IS NOT NULL) = (movement <= 6))
);
-- Entry indexes grow with the table: a few bytes for every 32 pages find a window's postings.
CREATE INDEX postings_of_entries ON postings USING brin (entry_index) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE postings IS 'Points moved from one account to another; the view journal names the accounts.';
COMMENT ON COLUMN postings.movement IS 'Number of a movement; the view journal names it and its two accounts.';
COMMENT ON COLUMN postings.priced_on IS 'Local day whose prices apply.';

CREATE TABLE lots (
    points bigint NOT NULL,
    points_expired bigint NOT NULL,
    expires_on date NOT NULL,
    card text COLLATE "C" NOT NULL,
    unit text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    PRIMARY KEY (card, unit, issuer, expires_on),
    CONSTRAINT lots_points CHECK (points >= 0 AND points_expired >= 0 AND points + points_expired > 0)
) WITH (fillfactor = 70);
COMMENT ON TABLE lots IS 'What cards hold, by issuer and date of expiry.';
COMMENT ON COLUMN lots.points_expired IS 'What was there and has been booked as expired.';

CREATE TABLE debts (
    points bigint NOT NULL,
    card text COLLATE "C" NOT NULL,
    unit text COLLATE "C" NOT NULL,
    creditor text COLLATE "C" NOT NULL,
    PRIMARY KEY (card, unit, creditor),
    CONSTRAINT debts_points CHECK (points > 0)
) WITH (fillfactor = 70);
COMMENT ON TABLE debts IS 'What cards owe: points of refunded earns that had been spent.';
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
    for statements in (LOG, REFERENCES, LEDGER, JOURNAL):
        op.execute(statements)
