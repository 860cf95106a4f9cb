"""Sums of the log's stretches: always what the postings come to, whoever makes them, and however far they are."""

from __future__ import annotations

import datetime
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from clearing.model import Earn, MerchantId, OpenCard, Points
from clearing.postgres.database import open_engine, snapshot
from clearing.postgres.migration import migrate
from clearing.postgres.reading.books import check_books
from clearing.postgres.reading.flows import read_flows, read_points_moved
from clearing.postgres.writing.flow_summing import FlowSumming
from clearing.postgres.writing.flow_sums import Stretch, sum_next_stretch, sum_stretches
from clearing.rules.movements import MOVEMENTS, Flow, Movement
from tests.database_sessions import sessions_waiting
from tests.postgres.stored_alliance import BAKERY, CARDS, StoredAlliance, decided, record_batch
from tests.waiting import PATIENCE_SECONDS, wait_until

TABLES = "summed_stretches, flow_sums, flow_totals"
TO_ANOTHER = tuple(movement for movement, row in MOVEMENTS.items() if row.has_redeemer)
WITH_LOT = tuple(movement for movement, row in MOVEMENTS.items() if row.is_of_lot)
ENTRIES = 30
MERCHANTS = [MerchantId(name) for name in ("bakery", "cinema", "garage")]

merchants = st.sampled_from(MERCHANTS)
months = st.sampled_from([datetime.date(2026, month, 1) for month in (1, 2, 3)])
units = st.sampled_from(["PTS", "EUR"])
points = st.integers(1, 9) | st.just(9 * 10**18)
indexes = st.integers(0, ENTRIES - 1)
flows = st.builds(Flow, st.sampled_from(Movement), merchants, merchants, months, units, points).map(
    lambda flow: flow if flow.movement in TO_ANOTHER else flow._replace(redeemer=None)
)
ledgers = st.lists(st.tuples(indexes, flows), max_size=80)


@pytest.fixture(scope="module")
def module_engine(module_database_url: str) -> Iterator[Engine]:
    engine = open_engine(module_database_url)
    migrate(engine)
    yield engine
    engine.dispose()


def write_ledger(connection: Connection, postings: Sequence[tuple[int, Flow]], month_starts: Sequence[int]) -> None:
    """Instead of what was there."""
    connection.execute(text(f"TRUNCATE postings, window_starts, {TABLES}"))
    for month, first_index in enumerate(month_starts):
        connection.execute(
            text("INSERT INTO window_starts VALUES (:month, :first)"), {"month": month, "first": first_index}
        )
    for position, (entry_index, flow) in enumerate(postings):
        connection.execute(
            text(
                "INSERT INTO postings (entry_index, position, line, movement, issuer, redeemer, issued_in, expires_on,"
                " points, card, unit) VALUES (:entry_index, :position, 0, :movement, :issuer, :redeemer, :issued_in,"
                " :expires_on, :points, 'card', :unit)"
            ),
            flow._asdict()
            | {
                "entry_index": entry_index,
                "position": position,
                "movement": int(flow.movement),
                "expires_on": flow.issued_in if flow.movement in WITH_LOT else None,
            },
        )


def plain_sums(postings: Sequence[tuple[int, Flow]], first_index: int, end_index: int) -> list[Flow]:
    """What ``read_flows`` must give."""
    sums: Counter[Flow] = Counter()
    for entry_index, flow in postings:
        if first_index <= entry_index < end_index:
            sums[flow._replace(points=Points(0))] += flow.points
    unsorted = [flow._replace(points=Points(total)) for flow, total in sums.items()]
    # As the database sorts: what has no redeemer comes last.
    return sorted(
        unsorted, key=lambda each: (each.movement, each.issuer, each.redeemer or "~", each.issued_in, each.unit)
    )


def plain_points_moved(postings: Sequence[tuple[int, Flow]], end_index: int) -> dict[MerchantId, Counter[Movement]]:
    """What ``read_points_moved`` must give."""
    moved: dict[MerchantId, Counter[Movement]] = {}
    for entry_index, flow in postings:
        if entry_index < end_index:
            moved.setdefault(flow.issuer, Counter())[flow.movement] += flow.points
    return moved


@settings(max_examples=60)
@given(
    ledger=ledgers,
    month_starts=st.sets(indexes, max_size=4),
    sizes=st.lists(st.integers(1, 30), max_size=12),
    ranges=st.lists(st.tuples(indexes, indexes).map(sorted), min_size=1, max_size=6),
)
def test_flows_are_the_postings_sums_whatever_is_summed_already(
    module_engine: Engine,
    ledger: list[tuple[int, Flow]],
    month_starts: set[int],
    sizes: list[int],
    ranges: list[tuple[int, int]],
) -> None:
    months = sorted(month_starts)
    with module_engine.begin() as connection:
        write_ledger(connection, ledger, months)
        stretches = [sum_next_stretch(connection, postings=size) for size in sizes]
        for first, end in [*ranges, (0, ENTRIES), *pairwise(months)]:
            assert read_flows(connection, first, end) == plain_sums(ledger, first, end)
            assert read_points_moved(connection, end) == plain_points_moved(ledger, end)
    made = [stretch for stretch in stretches if stretch is not None]
    assert [stretch.first_index for stretch in made] == [0, *(stretch.end_index for stretch in made)][: len(made)]
    assert not [start for start in months for stretch in made if stretch.first_index < start < stretch.end_index]


@pytest.fixture
def alliance(engine: Engine) -> StoredAlliance:
    """A month of seven entries that is over, and an entry of the next."""
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    for number in range(1, 7):
        alliance.batch(alliance.one(BAKERY, f"earn-{number}", CARDS[0], Earn(Points(number), None)))
    alliance.days_pass(35)
    alliance.batch(alliance.one(BAKERY, "earn-7", CARDS[0], Earn(Points(7), None)))
    return alliance


def summed(engine: Engine) -> list[Stretch]:
    """The stretches that are summed; the books balance."""
    with snapshot(engine) as connection:
        assert check_books(connection) == []
        rows = connection.execute(text("SELECT first_index, end_index FROM summed_stretches ORDER BY first_index"))
        return [Stretch(*row) for row in rows]


def sum_one(engine: Engine, postings: int = 1_000) -> Stretch | None:
    with engine.begin() as connection:
        return sum_next_stretch(connection, postings=postings)


def test_a_stretch_ends_where_it_is_full_and_where_its_month_ends(alliance: StoredAlliance) -> None:
    # Entry 0 opened the card, and moved no points.
    made = [sum_one(alliance.engine, 4) for _ in range(4)]
    assert made == [Stretch(0, 5), Stretch(5, 7), None, None]
    assert summed(alliance.engine) == [Stretch(0, 5), Stretch(5, 7)]


def test_an_entry_of_more_postings_than_a_stretch_has_is_one_by_itself(alliance: StoredAlliance) -> None:
    assert [sum_one(alliance.engine, 0) for _ in range(3)] == [Stretch(0, 1), Stretch(1, 2), Stretch(2, 3)]
    assert summed(alliance.engine)[-1] == Stretch(2, 3)


def test_a_month_without_postings_is_a_stretch_too(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    alliance.days_pass(35)
    alliance.batch(alliance.one(BAKERY, "earn", CARDS[0], Earn(Points(7), None)))
    assert [sum_one(engine), sum_one(engine)] == [Stretch(0, 1), None]


def test_nothing_is_summed_of_an_empty_database(engine: Engine) -> None:
    assert sum_one(engine) is None
    sum_stretches(engine, 10)
    with snapshot(engine) as connection:
        assert read_flows(connection, 0, 10) == []
        assert read_points_moved(connection, 10) == {}


def test_on_demand_only_what_begins_before_is_summed(alliance: StoredAlliance) -> None:
    alliance.days_pass(35)
    alliance.batch(alliance.one(BAKERY, "earn-8", CARDS[0], Earn(Points(8), None)))
    sum_stretches(alliance.engine, 7)
    assert summed(alliance.engine) == [Stretch(0, 7)]
    sum_stretches(alliance.engine, 7)
    assert summed(alliance.engine) == [Stretch(0, 7)]
    sum_stretches(alliance.engine, 8)
    assert summed(alliance.engine) == [Stretch(0, 7), Stretch(7, 8)]


def test_what_is_not_committed_is_not_summed(alliance: StoredAlliance) -> None:
    alliance.days_pass(35)
    record = decided(alliance, "uncommitted")
    with alliance.engine.begin() as connection:
        record_batch(connection, record)
        assert [sum_one(alliance.engine) for _ in range(2)] == [Stretch(0, 7), None]
    alliance.committed(record)
    assert sum_one(alliance.engine) == Stretch(7, 8)
    assert summed(alliance.engine) == [Stretch(0, 7), Stretch(7, 8)]


def test_of_two_that_sum_a_stretch_at_once_one_waits_and_leaves_it_to_the_other(alliance: StoredAlliance) -> None:
    with ThreadPoolExecutor(1) as pool:
        with alliance.engine.begin() as connection:
            assert sum_next_stretch(connection, postings=4) == Stretch(0, 5)
            other = pool.submit(sum_one, alliance.engine)
            wait_until(lambda: sessions_waiting(alliance.engine) == 1)
        assert other.result(PATIENCE_SECONDS) == Stretch(0, 7)
    assert summed(alliance.engine) == [Stretch(0, 5)]
    assert sum_one(alliance.engine) == Stretch(5, 7)
    assert summed(alliance.engine) == [Stretch(0, 5), Stretch(5, 7)]


def test_what_one_that_is_killed_has_begun_another_does(alliance: StoredAlliance) -> None:
    with ThreadPoolExecutor(1) as pool, alliance.engine.connect() as killed:
        assert sum_next_stretch(killed, postings=4) == Stretch(0, 5)
        other = pool.submit(sum_one, alliance.engine)
        wait_until(lambda: sessions_waiting(alliance.engine) == 1)
        session = killed.connection.driver_connection
        assert session is not None
        session.close()
        assert other.result(PATIENCE_SECONDS) == Stretch(0, 7)
        killed.invalidate()
    assert summed(alliance.engine) == [Stretch(0, 7)]


def test_many_that_sum_at_once_come_to_the_same(alliance: StoredAlliance) -> None:
    together = threading.Barrier(4)

    def sum_all(postings: int) -> None:
        together.wait(PATIENCE_SECONDS)
        while sum_one(alliance.engine, postings) is not None:
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sum_all, (1, 2, 3, 2)))
    stretches = summed(alliance.engine)
    assert stretches[0].first_index == 0
    # With one posting a stretch, the last entry's is behind the last stretch.
    assert stretches[-1].end_index == 7


def test_in_the_background_stretches_are_summed_as_the_log_grows(
    alliance: StoredAlliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearing.postgres.writing.flow_summing.LOOK_SECONDS", 0.01)
    with FlowSumming(alliance.engine):
        wait_until(lambda: summed(alliance.engine) == [Stretch(0, 7)])
        alliance.days_pass(35)
        alliance.batch(alliance.one(BAKERY, "earn-8", CARDS[0], Earn(Points(8), None)))
        wait_until(lambda: summed(alliance.engine) == [Stretch(0, 7), Stretch(7, 8)])
    alliance.days_pass(35)
    alliance.batch(alliance.one(BAKERY, "earn-9", CARDS[0], Earn(Points(9), None)))
    assert summed(alliance.engine) == [Stretch(0, 7), Stretch(7, 8)]


def test_the_background_goes_on_where_the_database_hung_up(
    alliance: StoredAlliance, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearing.postgres.writing.flow_summing.LOOK_SECONDS", 0.01)
    its_own = open_engine(database_url, application_name="flow summing")
    with alliance.engine.begin() as connection:
        # However long it takes: the database ends a transaction of ours that does nothing for half a minute.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("LOCK TABLE postings"))
        with FlowSumming(its_own):
            wait_until(lambda: sessions_waiting(alliance.engine) == 1)
            ended = connection.scalar(
                text(
                    "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'flow summing'"
                )
            )
            assert ended == 1
            connection.rollback()
            wait_until(lambda: summed(alliance.engine) == [Stretch(0, 7)])
    its_own.dispose()
