"""Settling from the stored log: from sums or from postings, in the gateway or in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import psutil
import pytest
from sqlalchemy import Connection, text

from clearing.errors import Rejection
from clearing.model import EntryIndex, MerchantId, Points, WindowId
from clearing.postgres.database import snapshot
from clearing.postgres.database_errors import DatabaseUnavailableError
from clearing.postgres.reading.stored_log import tile_reader
from clearing.postgres.writing.flow_sums import sum_next_stretch
from clearing.rules.movements import Flow, Movement
from clearing.v1 import instruction_pb2, settlement_pb2
from merchant_gateway.server.access import Access
from settlement.reports.files import StatementFormat
from settlement.serving.from_store import StoredSettlements, settle_stored
from settlement.serving.settlement_process import NICENESS, QUESTIONS_MAX, SettlementFailedError, SettlementProcess
from settlement.v1.errors import ContradictorySumsError, WindowNotClosedError
from settlement.v1.month_end import settle
from settlement.v1.proposal import proposal_of
from settlement.v1.statements import Settlement
from tests.database_sessions import sessions_waiting
from tests.integration.alliance import Alliance
from tests.integration.command import served
from tests.waiting import PATIENCE_SECONDS, wait_until

JANUARY, FEBRUARY = WindowId("2026-01"), WindowId("2026-02")
BAKERY = MerchantId("bakery")
APPLICATION_NAME = "settlement under test"
FORGET = "TRUNCATE summed_stretches, flow_sums, flow_totals"


@pytest.fixture
def closed(alliance: Alliance) -> Alliance:
    """Two closed months, the second of which also takes back what the first one gave."""
    card, other = alliance.open_card("bakery"), alliance.open_card("cinema")
    for number in range(6):
        alliance.travel(f"2026-01-{10 + number} 12:00:00")
        alliance.earn("bakery", card, 100 + number, reference=f"earn-{number}")
        alliance.burn("cinema", card, 10 + number, reference=f"burn-{number}")
        alliance.earn("cinema", other, 7)
    alliance.travel("2026-02-01 00:00:00")
    alliance.refund("cinema", card, "burn-5", 5)
    alliance.accept(close_window=instruction_pb2.CloseWindow(window=JANUARY))
    alliance.refund("bakery", card, "earn-5")
    alliance.burn("bakery", other, 20)
    alliance.travel("2026-03-01 00:00:00")
    alliance.accept(close_window=instruction_pb2.CloseWindow(window=FEBRUARY))
    return alliance


def settled_plainly(alliance: Alliance, window: WindowId) -> Settlement:
    """From the postings alone, each of them read."""
    directory = alliance.gateway.writer.directory
    assert directory is not None
    entries = directory.closed_windows[window].range

    def flows(connection: Connection, first_index: int, end_index: int) -> list[Flow]:
        rows = connection.execute(
            text(
                "SELECT movement, issuer, redeemer, issued_in, unit, points FROM postings"
                " WHERE entry_index >= :first AND entry_index < :end"
            ),
            {"first": first_index, "end": end_index},
        )
        return [Flow(Movement(row[0]), row[1], row[2], row[3], row[4], Points(row[5])) for row in rows]

    with snapshot(alliance.engine) as connection:
        return settle(
            directory,
            window,
            flows(connection, 0, entries.first_index),
            flows(connection, entries.first_index, entries.end_index),
            tile_reader(connection).root(EntryIndex(entries.end_index)),
        )


def summed_anew(alliance: Alliance, stretches: int, postings: int) -> int:
    """How many stretches of so many postings could be summed, and are the only ones: so many at most."""
    with alliance.engine.begin() as connection:
        connection.execute(text(FORGET))
        return sum(sum_next_stretch(connection, postings=postings) is not None for _ in range(stretches))


@pytest.mark.parametrize("postings", [1, 5, 1_000])
def test_whatever_is_summed_already_a_window_settles_to_the_same(closed: Alliance, postings: int) -> None:
    expected = {window: settled_plainly(closed, window) for window in (FEBRUARY, JANUARY)}
    stretches = 0
    while summed_anew(closed, stretches, postings) == stretches:
        for window, plain in expected.items():
            summed_anew(closed, stretches, postings)
            settled = settle_stored(closed.engine, window)
            assert settled == plain
            assert proposal_of(settled) == proposal_of(plain)
        stretches += 1
    assert stretches > 2


def test_a_window_that_is_not_closed_is_not_settled(alliance: Alliance) -> None:
    with pytest.raises(WindowNotClosedError):
        settle_stored(alliance.engine, JANUARY)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE flow_sums SET points = points + 1 WHERE movement = 2",
        "DELETE FROM flow_sums WHERE movement = 2",
        "UPDATE flow_totals SET points = points + 1 WHERE end_index = (SELECT max(end_index) FROM flow_totals)",
    ],
)
def test_sums_that_contradict_each_other_are_not_settled_from(closed: Alliance, tampering: str) -> None:
    expected = settle_stored(closed.engine, FEBRUARY)
    with closed.engine.begin() as connection:
        assert connection.execute(text(tampering)).rowcount > 0
    with pytest.raises(ContradictorySumsError, match="TRUNCATE summed_stretches, flow_sums, flow_totals"):
        settle_stored(closed.engine, FEBRUARY)
    closed.reopen(Access())  # the gateway that closed it has settled it already
    with pytest.raises(grpc.RpcError) as refused:
        closed.settlement.GetSettlement(
            settlement_pb2.GetSettlementRequest(window=FEBRUARY), metadata=closed.authorization(closed.operator)
        )
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    with closed.engine.begin() as connection:
        connection.execute(text(FORGET))
    assert settle_stored(closed.engine, FEBRUARY) == expected


@pytest.fixture
def process(alliance: Alliance) -> Iterator[SettlementProcess]:
    with SettlementProcess(alliance.engine, APPLICATION_NAME) as process:
        yield process


@contextmanager
def postings_locked(alliance: Alliance) -> Iterator[Connection]:
    """Within the block whoever settles waits."""
    with alliance.engine.begin() as connection:
        # However long the block takes: the database ends a transaction of ours that does nothing for half a minute.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("LOCK TABLE postings"))
        yield connection


def running(process: SettlementProcess) -> psutil.Process:
    assert process.process_id is not None
    return psutil.Process(process.process_id)


def test_the_process_answers_what_the_gateway_would_and_comes_after_others(
    closed: Alliance, process: SettlementProcess
) -> None:
    here = StoredSettlements(closed.engine)
    for window in (JANUARY, FEBRUARY):
        assert process.proposal(window) == here.proposal(window)
        for merchant in (None, BAKERY):
            for form in (StatementFormat.JSON, StatementFormat.CSV):
                assert process.statement(window, merchant, form) == here.statement(window, merchant, form)
    assert process.statement(JANUARY, BAKERY, StatementFormat.XLSX).startswith(b"PK")
    assert running(process).nice() == min(psutil.Process().nice() + NICENESS, 19)


def test_one_that_is_killed_is_replaced_and_asked_again(closed: Alliance, process: SettlementProcess) -> None:
    before = process.proposal(JANUARY)
    killed = running(process)
    killed.kill()
    assert process.proposal(JANUARY) == before
    assert process.process_id != killed.pid


def test_one_that_is_killed_while_it_settles_is_replaced(closed: Alliance, process: SettlementProcess) -> None:
    expected = StoredSettlements(closed.engine).proposal(JANUARY)
    with ThreadPoolExecutor(1) as pool:
        with postings_locked(closed):
            asked = pool.submit(process.proposal, JANUARY)
            wait_until(lambda: sessions_waiting(closed.engine, APPLICATION_NAME) == 1)
            running(process).kill()
            # The killed one's session still waits, and does not notice that it was left.
            wait_until(lambda: sessions_waiting(closed.engine, APPLICATION_NAME) == 2)
        assert asked.result(PATIENCE_SECONDS) == expected


def test_one_that_is_frozen_is_replaced_and_never_heard_again(
    closed: Alliance, process: SettlementProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    january, february = process.proposal(JANUARY), process.proposal(FEBRUARY)
    frozen = running(process)
    frozen.suspend()
    monkeypatch.setattr("settlement.serving.settlement_process.PATIENCE_SECONDS", 0.5)
    with suppress(SettlementFailedError):  # where the next one has not even started so soon
        assert process.proposal(FEBRUARY) == february
    monkeypatch.undo()
    assert process.proposal(JANUARY) == january
    assert not frozen.is_running()


def test_what_it_cannot_settle_is_told(closed: Alliance, process: SettlementProcess) -> None:
    with pytest.raises(SettlementFailedError, match=r"2026-03 cannot be settled: WindowNotClosedError \(month_end"):
        process.proposal(WindowId("2026-03"))
    process.proposal(FEBRUARY)


def test_a_session_that_was_ended_makes_the_database_unavailable_only_until_the_next(
    closed: Alliance, process: SettlementProcess
) -> None:
    with ThreadPoolExecutor(1) as pool, postings_locked(closed) as connection:
        asked = pool.submit(process.proposal, JANUARY)
        wait_until(lambda: sessions_waiting(closed.engine, APPLICATION_NAME) == 1)
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'settlement under test'"
            )
        )
        with pytest.raises(DatabaseUnavailableError):
            asked.result(PATIENCE_SECONDS)
    assert process.proposal(JANUARY) == StoredSettlements(closed.engine).proposal(JANUARY)


def test_once_it_is_closed_whoever_waits_hears_that_the_gateway_stops(
    closed: Alliance, process: SettlementProcess
) -> None:
    with ThreadPoolExecutor(1) as pool, postings_locked(closed):
        asked = pool.submit(process.proposal, JANUARY)
        wait_until(lambda: sessions_waiting(closed.engine, APPLICATION_NAME) == 1)
        process.close()
        with pytest.raises(Rejection, match="the gateway is stopping"):
            asked.result(PATIENCE_SECONDS)
    with pytest.raises(Rejection, match="the gateway is stopping"):
        process.proposal(JANUARY)


def test_where_too_many_ask_the_next_one_is_turned_away_at_once(closed: Alliance, process: SettlementProcess) -> None:
    with ThreadPoolExecutor(QUESTIONS_MAX + 1) as pool:
        with postings_locked(closed):
            asked = [pool.submit(process.proposal, JANUARY) for _ in range(QUESTIONS_MAX + 1)]
            refused = next(as_completed(asked, PATIENCE_SECONDS))
            with pytest.raises(Rejection, match="too many ask"):
                refused.result()
        answers = {each.result(PATIENCE_SECONDS) for each in asked if each is not refused}
    assert answers == {process.proposal(JANUARY)}


def test_a_served_gateway_settles_in_a_process_and_sums_in_the_background(closed: Alliance, tmp_path: Path) -> None:
    expected = StoredSettlements(closed.engine).proposal(JANUARY)
    with closed.engine.begin() as connection:
        connection.execute(text(FORGET))
    closed.close()
    with served(closed, tmp_path) as gateway:
        closed.call(gateway.wait_for("serving")["address"])
        wait_until(lambda: summed_months(closed) == 2)
        request = settlement_pb2.GetSettlementRequest(window=JANUARY)
        answer = closed.settlement.GetSettlement(request, metadata=closed.authorization(closed.operator))
        assert answer.proposal.SerializeToString(deterministic=True) == expected
        assert closed.statement(JANUARY, "bakery")["merchant"]["id"] == "bakery"
        with pytest.raises(grpc.RpcError) as refused:
            closed.statement(JANUARY, "garage")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert "garage has no statement for 2026-01" in (refused.value.details() or "")
        assert gateway.stop() == 0


def summed_months(alliance: Alliance) -> int:
    """How many months' ends are ends of summed stretches."""
    with alliance.engine.connect() as connection:
        query = "SELECT count(*) FROM summed_stretches JOIN window_starts ON window_starts.first_index = end_index"
        return int(connection.execute(text(query)).scalar_one())
