"""The books check: silent while nothing is wrong, and naming each row that somebody changed."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from clearing.model import Burn, Earn, OpenCard, Points, Reference, Refund
from clearing.postgres.database import snapshot
from clearing.postgres.reading.books import check_books
from clearing.postgres.writing.flow_sums import sum_next_stretch
from tests.postgres.stored_alliance import BAKERY, CARDS, CINEMA, GARAGE, StoredAlliance

ADD_ONE = "SELECT jsonb_object_agg(key, value::bigint + 1) FROM jsonb_each_text({})"
"""A card's points, each one more."""


@pytest.fixture
def alliance(engine: Engine) -> StoredAlliance:
    """Every movement there is."""
    alliance = StoredAlliance(engine)
    alliance.batch(
        alliance.one(BAKERY, "open-0", CARDS[0], OpenCard()),
        alliance.one(BAKERY, "open-1", CARDS[1], OpenCard()),
        alliance.one(BAKERY, "earn", CARDS[0], Earn(Points(100), None)),
        alliance.one(BAKERY, "expiring", CARDS[1], Earn(Points(40), None)),
        alliance.one(CINEMA, "burn", CARDS[0], Burn(Points(70))),
        alliance.one(BAKERY, "take-back", CARDS[0], Refund(Reference("earn"), Points(60))),
        alliance.one(GARAGE, "repay-another", CARDS[0], Earn(Points(20), None)),
        alliance.one(BAKERY, "repay-own", CARDS[0], Earn(Points(5), None)),
        alliance.one(CINEMA, "give-back", CARDS[0], Refund(Reference("burn"), Points(30))),
    )
    alliance.days_pass(80)
    alliance.batch(
        alliance.expire("expire", CARDS[0], CARDS[1]),
        alliance.one(BAKERY, "too-late", CARDS[1], Refund(Reference("expiring"), None)),
        alliance.one(BAKERY, "refused", CARDS[2], Burn(Points(1))),
    )
    alliance.batch(
        alliance.one(GARAGE, "earn", CARDS[0], Earn(Points(10), None)),
        alliance.one(CINEMA, "burn-2", CARDS[0], Burn(Points(10))),
        alliance.one(GARAGE, "take-back", CARDS[0], Refund(Reference("earn"), Points(4))),
        alliance.one(BAKERY, "kept", CARDS[1], Earn(Points(25), None)),
    )
    with engine.begin() as connection:
        while sum_next_stretch(connection, postings=4) is not None:
            pass
    return alliance


def _complaints(alliance: StoredAlliance) -> list[str]:
    with snapshot(alliance.engine) as connection:
        return check_books(connection)


def test_books_of_correct_operation_balance(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        movements = connection.scalars(text("SELECT DISTINCT movement FROM postings ORDER BY 1")).all()
        assert movements == list(range(1, 11))
        assert connection.scalar(text("SELECT count(*) FROM debts")) == 1
        assert connection.scalar(text("SELECT count(*) FROM summed_stretches")) == 4
    assert _complaints(alliance) == []


@pytest.mark.parametrize(
    ("tampering", "complaint"),
    [
        (f"UPDATE cards SET lots = ({ADD_ONE.format('lots')}) WHERE lots <> '{{}}'", "holds"),
        (f"UPDATE cards SET lots_expired = ({ADD_ONE.format('lots_expired')}) WHERE lots_expired <> '{{}}'", "holds"),
        ("UPDATE cards SET lots = '{}'", "holds 0 points"),
        ("UPDATE cards SET lots = lots || '{\"2027-01-31 2026-01 PTS bakery\": 5}'", "its postings come to 0"),
        (f"UPDATE cards SET debts = ({ADD_ONE.format('debts')}) WHERE debts <> '{{}}'",
         "owes 5 points to garage; its postings come to 4"),
        ("UPDATE cards SET debts = '{}'", "owes 0 points to garage"),
        ("UPDATE cards SET debts = '{\"cinema\": 4}' WHERE debts <> '{}'", "cinema issued"),
        ("UPDATE postings SET points = points + 1 WHERE movement = 1", "moved 100 points; its postings come to 101"),
        ("UPDATE postings SET issuer = 'garage' WHERE movement = 2", "holds"),
        ("DELETE FROM postings WHERE movement = 7", "moved 60 points"),
        ("UPDATE transactions SET points = points + 1 WHERE kind = 3 AND outcome = 1", "moved 71 points"),
        ("UPDATE transactions SET outcome = 11, points = 0, points_refunded = 0 WHERE reference = 'burn-2'",
         "postings of no accepted transaction"),
        ("DELETE FROM transactions WHERE reference = 'burn-2'", "postings of no accepted transaction"),
        ("UPDATE transactions SET points_refunded = points_refunded - 1 WHERE reference = 'burn'", "are marked"),
        ("DELETE FROM cards", "0 cards are known, and 2 were opened"),
        ("INSERT INTO cards VALUES (0, 'card', 'PTS', '{}', '{}', '{}')", "3 cards are known, and 2 were opened"),
        ("DELETE FROM transactions WHERE reference = 'open-0'", "2 cards are known, and 1 were opened"),
        ("DELETE FROM instructions", "postings of no accepted transaction"),
        ("DELETE FROM entries WHERE index = 3", "the log has"),
        ("UPDATE log_head SET size = size + 1", "the log has"),
        ("UPDATE flow_sums SET points = points + 1 WHERE movement = 5", "the postings come to"),
        ("UPDATE flow_sums SET issuer = 'garage' WHERE issuer = 'bakery' AND movement = 2", "the postings come to"),
        ("UPDATE flow_sums SET issued_in = issued_in + 1", "the postings come to"),
        ("UPDATE flow_sums SET redeemer = 'garage' WHERE redeemer = 'cinema'", "the postings come to"),
        ("DELETE FROM flow_sums WHERE movement = 1", "0 points of movement 1 are summed for bakery"),
        ("INSERT INTO flow_sums VALUES (9999, 5, '2026-01-01', 1, 'PTS', 'bakery', NULL)", "the postings come to 0"),
        ("UPDATE flow_totals SET points = points + 1 WHERE movement = 7", "the sums before come to"),
        ("DELETE FROM flow_totals WHERE movement = 1", "0 points of movement 1 are summed for bakery"),
        ("INSERT INTO flow_totals VALUES (0, 5, 1, 'bakery')", "the sums before come to 0"),
        ("DELETE FROM summed_stretches WHERE first_index = 0", "the summed stretch of entries"),
        ("UPDATE summed_stretches SET end_index = end_index - 1 WHERE first_index = 0", "follows one that ends at"),
        ("UPDATE summed_stretches SET end_index = 9999 WHERE end_index = (SELECT max(end_index) FROM summed_stretches)",
         "in a log of"),
    ],
)  # fmt: skip
def test_a_tampered_row_is_found(alliance: StoredAlliance, tampering: str, complaint: str) -> None:
    with alliance.engine.begin() as connection:
        assert connection.execute(text(tampering)).rowcount > 0
    assert any(complaint in each for each in _complaints(alliance)), _complaints(alliance)
