"""Sums of the postings, by stretches of the log."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

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
    priced_on date NOT NULL,
    movement smallint NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    redeemer text COLLATE "C"
);
CREATE UNIQUE INDEX flow_sums_key ON flow_sums (first_index, movement, issuer, redeemer, priced_on)
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
    op.execute(SUMS)
