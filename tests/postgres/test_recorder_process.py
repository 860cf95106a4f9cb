"""The process that commits batches."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from sqlalchemy import Engine, text

from clearing.model import Earn, OpenCard, Points
from clearing.postgres.database import snapshot
from clearing.postgres.database_errors import DatabaseUnavailableError, LogDamagedError
from clearing.postgres.head import FencedError, read_head
from clearing.postgres.reading.books import check_books
from clearing.postgres.writing import recorder_process
from clearing.postgres.writing.record import statements_of
from clearing.postgres.writing.recorder_process import RecorderProcess, RecordingFailedError
from tests.open_files import STANDARD_STREAMS, open_files_at_most
from tests.postgres.stored_alliance import BAKERY, CARDS, StoredAlliance, decided

SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'recorder under test'"


@pytest.fixture
def recorder(engine: Engine) -> Iterator[RecorderProcess]:
    with RecorderProcess(engine, "recorder under test") as recorder:
        yield recorder


@pytest.fixture
def alliance(engine: Engine) -> StoredAlliance:
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    return alliance


def committed_size(engine: Engine) -> int:
    with snapshot(engine) as connection:
        head = read_head(connection)
        assert check_books(connection) == []
    return 0 if head is None else head.size


def answer_of(engine: Engine, query: str) -> object:
    with engine.begin() as connection:
        return connection.scalar(text(query))


def test_it_commits_one_batch_after_the_other(alliance: StoredAlliance, recorder: RecorderProcess) -> None:
    for size, reference in enumerate(("earn-1", "earn-2", "earn-3"), 2):
        record = decided(alliance, reference)
        recorded = recorder.commit(statements_of(record))
        alliance.committed(record)
        assert recorded.record_seconds > 0
        assert recorded.commit_seconds > 0
        assert committed_size(alliance.engine) == size
    assert answer_of(alliance.engine, "SELECT sum(points) FROM postings") == 21


def test_a_batch_decided_on_an_older_head_is_fenced(alliance: StoredAlliance, recorder: RecorderProcess) -> None:
    late = decided(alliance, "late")
    alliance.batch(alliance.one(BAKERY, "early", CARDS[0], Earn(Points(7), None)))
    with pytest.raises(FencedError, match="beyond 1 entries"):
        recorder.commit(statements_of(late))
    assert committed_size(alliance.engine) == 2
    recorder.commit(statements_of(decided(alliance, "in time")))
    assert committed_size(alliance.engine) == 3


def test_tables_that_are_not_as_loaded_are_named(alliance: StoredAlliance, recorder: RecorderProcess) -> None:
    record = decided(alliance, "earn")
    answer_of(alliance.engine, "WITH gone AS (DELETE FROM cards RETURNING 1) SELECT count(*) FROM gone")
    with pytest.raises(LogDamagedError, match="1 cards were to be changed, and the database has 0 of them"):
        recorder.commit(statements_of(record))


def test_a_database_error_is_told_without_the_rows_that_it_quotes(
    alliance: StoredAlliance, recorder: RecorderProcess
) -> None:
    record = decided(alliance, "earn")
    twice = [*statements_of(record)]
    with pytest.raises(RecordingFailedError, match="UniqueViolation 23505: duplicate key") as caught:
        recorder.commit([twice[0], twice[1], twice[2], twice[2]])
    assert "earn" not in str(caught.value)
    assert CARDS[0] not in str(caught.value)
    recorder.commit(twice)
    assert committed_size(alliance.engine) == 2


def test_a_session_that_was_ended_is_replaced(alliance: StoredAlliance, recorder: RecorderProcess) -> None:
    record = decided(alliance, "earn-1")
    recorder.commit(statements_of(record))
    alliance.committed(record)
    assert answer_of(alliance.engine, f"SELECT count(pg_terminate_backend(pid, 10000)) {SESSIONS}") == 1
    record = decided(alliance, "earn-2")
    with pytest.raises(DatabaseUnavailableError):
        recorder.commit(statements_of(record))
    assert committed_size(alliance.engine) == 2
    recorder.commit(statements_of(record))
    assert committed_size(alliance.engine) == 3


def test_after_a_pause_it_notices_by_itself_that_its_session_is_gone(
    alliance: StoredAlliance, recorder: RecorderProcess
) -> None:
    recorder.pause()
    record = decided(alliance, "earn-1")
    recorder.commit(statements_of(record))
    alliance.committed(record)
    for _ in range(2):
        recorder.pause()
    answer_of(alliance.engine, f"SELECT count(pg_terminate_backend(pid, 10000)) {SESSIONS}")
    recorder.commit(statements_of(decided(alliance, "earn-2")))
    assert committed_size(alliance.engine) == 3


def test_one_that_is_killed_is_replaced_and_its_batch_is_in_doubt(
    alliance: StoredAlliance, recorder: RecorderProcess
) -> None:
    record = decided(alliance, "earn-1")
    process_id = recorder.process_id
    assert process_id is not None
    psutil.Process(process_id).kill()
    with pytest.raises(DatabaseUnavailableError, match="The process that commits batches was lost: the recorder ended"):
        recorder.commit(statements_of(record))
    assert committed_size(alliance.engine) == 1
    recorder.commit(statements_of(record))
    assert committed_size(alliance.engine) == 2
    assert recorder.process_id != process_id


def test_where_no_other_can_be_started_the_database_is_unavailable_until_one_can(
    alliance: StoredAlliance, recorder: RecorderProcess
) -> None:
    record = decided(alliance, "earn-1")
    assert recorder.process_id is not None
    psutil.Process(recorder.process_id).kill()
    with open_files_at_most(STANDARD_STREAMS):
        for how in ("ended", "cannot be started: Too many open files"):
            with pytest.raises(DatabaseUnavailableError, match=f"the recorder {how}"):
                recorder.commit(statements_of(record))
    recorder.commit(statements_of(record))
    assert committed_size(alliance.engine) == 2


def test_one_that_is_frozen_is_killed_and_replaced(
    alliance: StoredAlliance, recorder: RecorderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = decided(alliance, "earn-1")
    recorder.commit(statements_of(record))
    alliance.committed(record)
    record = decided(alliance, "earn-2")
    process_id = recorder.process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGSTOP)
    monkeypatch.setattr(recorder_process, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(DatabaseUnavailableError, match="the recorder gave no answer within"):
        recorder.commit(statements_of(record))
    monkeypatch.undo()
    assert committed_size(alliance.engine) == 2
    recorder.commit(statements_of(record))
    assert committed_size(alliance.engine) == 3
    assert recorder.process_id != process_id


def test_it_outlives_a_signal_to_the_group_and_ends_with_the_block(engine: Engine, alliance: StoredAlliance) -> None:
    with RecorderProcess(engine, "recorder under test") as recorder:
        assert recorder.process_id is not None
        process = psutil.Process(recorder.process_id)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(process.pid, number)
        recorder.commit(statements_of(decided(alliance, "earn-1")))
        assert recorder.process_id == process.pid
    assert not process.is_running()
    assert committed_size(engine) == 2


def test_the_password_is_not_to_be_seen_in_the_list_of_processes(engine: Engine, recorder: RecorderProcess) -> None:
    assert recorder.process_id is not None
    command = " ".join(psutil.Process(recorder.process_id).cmdline())
    assert "postgres" not in command
    assert str(engine.url.host or engine.url.query) not in command
