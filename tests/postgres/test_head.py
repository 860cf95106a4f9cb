"""Two writers on one database: one commits, the other is fenced and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, func, select, text

from clearing.deciding.batch_record import BatchRecord, Head
from clearing.model import Burn, Earn, Instant, OpenCard, Points
from clearing.postgres.database import snapshot
from clearing.postgres.database_errors import LogDamagedError
from clearing.postgres.head import FencedError, read_head
from clearing.postgres.reading.books import check_books
from clearing.postgres.tables import metadata
from clearing.rules.card import Lot
from tests.postgres.stored_alliance import BAKERY, CARDS, StoredAlliance, decided, record_batch
from tests.waiting import PATIENCE_SECONDS


def _counts(engine: Engine) -> dict[str, int]:
    with snapshot(engine) as connection:
        tables = metadata.tables.items()
        return {name: connection.scalar(select(func.count()).select_from(table)) or 0 for name, table in tables}


def test_an_empty_log_has_no_head(engine: Engine) -> None:
    with snapshot(engine) as connection:
        assert read_head(connection) is None


def test_the_head_is_what_the_last_batch_left(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    alliance.batch(alliance.one(BAKERY, "earn", CARDS[0], Earn(Points(7), None)))
    with snapshot(engine) as connection:
        head = read_head(connection)
    assert head == alliance.head
    assert head is not None
    assert head.size == 2


@pytest.mark.parametrize("founded", [False, True], ids=["empty log", "grown log"])
def test_of_two_writers_at_once_one_commits_and_the_other_is_fenced(engine: Engine, founded: bool) -> None:
    alliance = StoredAlliance(engine)
    if founded:
        alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    records = [decided(alliance, f"earn-{writer}") for writer in range(2)]
    both_ready = threading.Barrier(2)

    def write(record: BatchRecord) -> str:
        try:
            with engine.begin() as connection:
                connection.execute(text("SELECT 1"))
                both_ready.wait(PATIENCE_SECONDS)
                record_batch(connection, record)
                time.sleep(0.2)  # long enough for the other to run into the lock
        except FencedError:
            return "fenced"
        return "committed"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(write, records)) == ["committed", "fenced"]
    counts = _counts(engine)
    assert counts["entries"] == counts["transactions"] == (2 if founded else 1)
    with snapshot(engine) as connection:
        assert check_books(connection) == []


def test_a_writer_that_was_overtaken_is_fenced_before_it_writes(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    late = decided(alliance, "late")
    alliance.batch(alliance.one(BAKERY, "early", CARDS[0], Earn(Points(7), None)))
    before = _counts(engine)
    with engine.connect() as connection:
        connection.begin()
        with pytest.raises(FencedError, match="beyond 1 entries"):
            record_batch(connection, late)
        assert connection.scalar(text("SELECT count(*) FROM entries")) == 2
    assert _counts(engine) == before


def test_a_head_of_the_same_size_and_another_root_is_not_swapped(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    record = decided(alliance, "earn")
    other = replace(record, old_head=Head(1, bytes(32), Instant(0), ""))
    with pytest.raises(FencedError), engine.begin() as connection:
        record_batch(connection, other)


def test_a_batch_decided_on_a_card_that_the_database_does_not_hold_is_not_recorded(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(
        alliance.one(BAKERY, "open", CARDS[0], OpenCard()),
        alliance.one(BAKERY, "earn-1", CARDS[0], Earn(Points(7), None)),
    )
    record = decided(alliance, "earn-2")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM cards"))
    before = _counts(engine)
    with pytest.raises(LogDamagedError, match="1 cards"), engine.begin() as connection:
        record_batch(connection, record)
    assert _counts(engine) == before


def test_a_lot_that_becomes_empty_is_not_kept(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(
        alliance.one(BAKERY, "open", CARDS[0], OpenCard()),
        alliance.one(BAKERY, "earn", CARDS[0], Earn(Points(7), None)),
    )
    card = alliance.ledger.cards[CARDS[0]]
    assert list(card.lots.values()) == [Lot(Points(7))]
    alliance.batch(alliance.one(BAKERY, "burn", CARDS[0], Burn(Points(7))))
    with snapshot(engine) as connection:
        assert connection.scalar(text("SELECT lots FROM cards")) == {}
