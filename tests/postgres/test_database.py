"""Opening a database, and what becomes of its errors."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy.exc
from sqlalchemy import Engine, make_url, text

from clearing.model import OpenCard
from clearing.postgres.bulk import Prepared, driver_cursor, execute_prepared
from clearing.postgres.database import open_engine, snapshot
from clearing.postgres.database_errors import (
    DatabaseUnavailableError,
    InvalidDatabaseUrlError,
    message_of,
    translated_errors,
)
from tests.postgres.stored_alliance import BAKERY, CARDS, StoredAlliance

PASSWORD = "correct horse battery"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "cannot be read"),
        ("postgresql+psycopg2//user:PASSWORD@host/db", "cannot be read"),
        ("postgresql+psycopg2://user:PASSWORD@host:port/db", "cannot be read"),
        ("postgresql://user:PASSWORD@host/db", "only postgresql\\+psycopg2://"),
        ("postgresql+asyncpg://user:PASSWORD@host/db", "only postgresql\\+psycopg2://"),
        ("sqlite:///PASSWORD.db", "only postgresql\\+psycopg2://"),
        ("postgresql+psycopg2://user:PASSWORD@host", "names no database"),
        ("postgresql+psycopg2://user:pass@PASSWORD@host/db", "Write it as %40"),
        ("postgresql+psycopg2://user:PASSWORD@/db?no_such_option=PASSWORD", "after the question mark"),
    ],
)
def test_a_wrong_url_is_refused_without_showing_it(url: str, advice: str) -> None:
    with pytest.raises(InvalidDatabaseUrlError, match=advice) as caught:
        open_engine(url.replace("PASSWORD", "secret-of-ours"))
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match=r"the database ledger on 127\.0\.0\.1 port 1 as till") as caught:
        open_engine("postgresql+psycopg2://till:secret-of-ours@127.0.0.1:1/ledger")
    assert "secret" not in str(caught.value)
    with pytest.raises(DatabaseUnavailableError, match="No such file"):
        open_engine(f"postgresql+psycopg2://till@/ledger?host={tmp_path}")


def test_a_missing_database_is_named(database_url: str) -> None:
    url = make_url(database_url).set(database="no_such_database").render_as_string(hide_password=False)
    with pytest.raises(DatabaseUnavailableError, match=r'"no_such_database" does not exist.*Check the host'):
        open_engine(url)


@pytest.fixture
def login_with_password(database_url: str) -> Iterator[str]:
    """URL of the database for a role that, unlike all others on this server, needs a password."""
    administrator = open_engine(database_url)
    with administrator.begin() as connection:
        access_file = Path(connection.scalar(text("SHOW hba_file")) or "")
        connection.execute(text(f"CREATE ROLE locked_out LOGIN PASSWORD '{PASSWORD}'"))
    before = access_file.read_text()
    access_file.write_text(f"local all locked_out scram-sha-256\n{before}")
    with administrator.begin() as connection:
        connection.execute(text("SELECT pg_reload_conf()"))
    yield make_url(database_url).set(username="locked_out").render_as_string(hide_password=False)
    access_file.write_text(before)
    with administrator.begin() as connection:
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("DROP ROLE locked_out"))
    administrator.dispose()


def test_a_wrong_password_is_refused_without_showing_it(login_with_password: str) -> None:
    url = make_url(login_with_password)
    with pytest.raises(DatabaseUnavailableError, match="Check the host, port, user, password") as caught:
        open_engine(url.set(password="secret-of-ours").render_as_string(hide_password=False))
    assert "secret" not in str(caught.value)
    open_engine(url.set(password=PASSWORD).render_as_string(hide_password=False)).dispose()


def test_commits_are_durable_even_where_the_database_says_otherwise(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        name = make_url(database_url).database
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    engine.dispose()
    with engine.begin() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
    engine.dispose()


def test_a_statement_stays_prepared_when_its_transaction_is_rolled_back(engine: Engine) -> None:
    add_one = Prepared("add_one", "bigint[]", "SELECT number + 1 FROM unnest($1) AS asked (number)")
    with engine.connect() as connection:
        for number in (1, 2):
            with connection.begin() as transaction, driver_cursor(connection) as cursor:
                execute_prepared(cursor, add_one, [number])
                assert cursor.fetchall() == [(number + 1,)]
                transaction.rollback()


def test_a_snapshot_sees_one_state_and_cannot_write(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    count = text("SELECT count(*) FROM cards")
    with snapshot(engine) as connection:
        assert connection.scalar(count) == 0
        alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
        assert connection.scalar(count) == 0
        with pytest.raises(sqlalchemy.exc.InternalError, match="read-only"):
            connection.execute(text("DELETE FROM cards"))
    with engine.begin() as connection:
        assert connection.scalar(count) == 1
        connection.execute(text("UPDATE cards SET opened_at_index = 0"))


def test_a_connection_that_was_cut_is_reported_and_replaced(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailableError, match=r"The database is unavailable: .*Check that the server runs"):
        _query_on_an_ended_session(engine)
    with translated_errors(), engine.begin() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def _query_on_an_ended_session(engine: Engine) -> None:
    with translated_errors(), engine.begin() as connection:
        _end_session(engine, connection.scalar(text("SELECT pg_backend_pid()")))
        connection.execute(text("SELECT 1"))


def test_a_connection_cut_in_the_middle_of_a_copy_is_reported(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailableError):
        _copy_on_a_session_ended_meanwhile(engine)
    with snapshot(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM cards")) == 0


class EndsTheSession(io.RawIOBase):
    """Rows of a COPY without end, of which the second part is read after the database session was ended."""

    def __init__(self, engine: Engine, process_id: int | None) -> None:
        super().__init__()
        self.engine = engine
        self.process_id = process_id
        self.numbers = itertools.count()

    def read(self, size: int = -1) -> bytes:
        number = next(self.numbers)
        if number == 1:
            _end_session(self.engine, self.process_id)
        return b"".join(b"0\tcard_%d_%d\tPTS\t{}\t{}\t{}\n" % (number, row) for row in range(1000))


def _copy_on_a_session_ended_meanwhile(engine: Engine) -> None:
    with translated_errors(), engine.begin() as connection:
        rows = EndsTheSession(engine, connection.scalar(text("SELECT pg_backend_pid()")))
        with driver_cursor(connection) as cursor:
            cursor.copy_expert("COPY cards FROM STDIN", rows, size=1 << 16)


def _end_session(engine: Engine, process_id: int | None) -> None:
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:id, 60000)"), {"id": process_id})


@pytest.mark.parametrize(
    ("sqlstate", "advice"),
    [
        ("53100", "disk is full: make room"),
        ("53300", "max_connections"),
        ("57P01", "Check that the server runs"),
        ("58030", "Check that the server runs"),
        ("25006", "point the database URL at the primary"),
        ("25P03", "Check that the server runs"),
        ("55P03", "pg_stat_activity"),
        ("40P01", "try again"),
    ],
)
@pytest.mark.parametrize("below_sqlalchemy", [False, True])
def test_the_servers_troubles_are_reported_with_what_to_do(
    engine: Engine, sqlstate: str, advice: str, below_sqlalchemy: bool
) -> None:
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'no luck' USING ERRCODE = '{sqlstate}', DETAIL = 'card_1'; END $$"
    with pytest.raises(DatabaseUnavailableError, match=rf"unavailable: no luck\. .*{advice}") as caught:
        _execute(engine, statement, below_sqlalchemy=below_sqlalchemy)
    assert "card_1" not in str(caught.value)


def _execute(engine: Engine, statement: str, *, below_sqlalchemy: bool) -> None:
    with translated_errors(), engine.begin() as connection:
        if below_sqlalchemy:
            with driver_cursor(connection) as cursor:
                cursor.execute(statement)
        else:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT no_such_column", psycopg2.errors.UndefinedColumn),
        ("INSERT INTO cards VALUES (0, 'card', 'PTS', '[]', '{}', '{}')", psycopg2.errors.CheckViolation),
        ("INSERT INTO window_starts VALUES ('2026-01', 0), ('2026-01', 1)", psycopg2.errors.UniqueViolation),
    ],
)
def test_programming_errors_pass_through(engine: Engine, statement: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        _execute(engine, statement, below_sqlalchemy=True)
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        _execute(engine, statement, below_sqlalchemy=False)
    assert isinstance(caught.value.orig, error)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT CAST('{\"a\",\"secret' AS text[])", "malformed array literal:"),
        ("SELECT CAST('secret' AS bigint)", "invalid input syntax for type bigint:"),
        ("SELECT secret", 'column "secret" does not exist'),
        ("CREATE TEMPORARY TABLE once (card text PRIMARY KEY); INSERT INTO once VALUES ('secret'), ('secret')",
         'duplicate key value violates unique constraint "once_pkey"'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("below_sqlalchemy", [False, True])
def test_an_errors_message_names_what_is_wrong_and_quotes_no_row_or_value(
    engine: Engine, statement: str, message: str, below_sqlalchemy: bool
) -> None:
    with pytest.raises((psycopg2.Error, sqlalchemy.exc.DBAPIError)) as raised:
        _execute(engine, statement, below_sqlalchemy=below_sqlalchemy)
    assert "secret" in str(raised.value)
    assert message_of(raised.value) == message


def test_a_message_of_the_driver_alone_ends_where_it_quotes() -> None:
    error = psycopg2.OperationalError(
        "FATAL:  ended\nCONTEXT:  COPY cards, line 1: secret\nserver closed the connection"
    )
    assert message_of(error) == "FATAL:  ended"


def test_running_out_of_connections_is_reported(engine: Engine) -> None:
    held = contextlib.ExitStack()
    with held, pytest.raises(DatabaseUnavailableError, match="All connections of this process"):
        _take_all(engine, held)


def _take_all(engine: Engine, held: contextlib.ExitStack) -> None:
    engine.pool._timeout = 0.1  # type: ignore[attr-defined] # the pool's own wait is longer than a test's patience
    with translated_errors():
        while True:
            held.enter_context(engine.connect())
