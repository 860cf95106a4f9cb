"""Making the tables: once, by whoever comes first, and never over something else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text

from clearing.calendar import first_day
from clearing.model import CardToken, MerchantId, Points, WindowId
from clearing.postgres.database import open_engine, snapshot
from clearing.postgres.database_errors import DatabaseUnavailableError, SchemaMismatchError
from clearing.postgres.migration import MIGRATION_LOCK, migrate
from clearing.postgres.tables import metadata, movement_rows, movements
from clearing.rules.movements import MOVEMENTS, Movement, Posting, credit_account, debit_account
from tests.waiting import PATIENCE_SECONDS


def test_the_tables_are_those_that_queries_name(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = [
            difference
            for difference in compare_metadata(context, metadata)
            if "comment" not in (difference[0] if isinstance(difference, tuple) else difference[0][0])
        ]
        assert differences == []
        keys = {name: inspect(connection).get_pk_constraint(name)["constrained_columns"] for name in metadata.tables}
    assert keys["transactions"] == ["merchant", "reference"]
    assert keys["postings"] == ["entry_index", "position", "line"]
    assert keys["cards"] == ["card"]


def test_a_second_start_changes_nothing_and_says_nothing(engine: Engine) -> None:
    said: list[str] = []
    migrate(engine, said.append)
    assert said == []


def test_processes_that_start_together_make_the_tables_once(database_url: str) -> None:
    engines = [open_engine(database_url) for _ in range(4)]
    said: list[str] = []
    all_ready = threading.Barrier(len(engines))

    def start(engine: Engine) -> None:
        all_ready.wait(PATIENCE_SECONDS)
        migrate(engine, said.append)

    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(start, engines))
    assert said == ["The database's tables are of version 0001 now: The log, the ledger and its references."]
    for engine in engines:
        engine.dispose()


def test_tables_of_a_newer_version_are_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatchError, match=r"newer version.*version 9999; .*up to 0001.*Install the newer"):
        migrate(engine)


def test_tables_of_another_program_are_left_alone(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE cards (suit text)"))
    with pytest.raises(SchemaMismatchError, match="another program \\(cards\\)"):
        migrate(engine)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["cards"]
    engine.dispose()


def test_a_migration_that_never_ends_elsewhere_is_not_waited_for_for_ever(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearing.postgres.migration.LOCK_TIMEOUT_SECONDS", 1)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        with pytest.raises(DatabaseUnavailableError, match="Another session holds"):
            migrate(engine)


def test_the_table_of_movements_is_the_rules_table(engine: Engine) -> None:
    with snapshot(engine) as connection:
        stored = connection.execute(select(movements).order_by(movements.c.movement)).mappings().all()
    assert [dict(row) for row in stored] == movement_rows()


def test_the_journal_names_the_accounts_as_the_rules_do(engine: Engine) -> None:
    day = first_day(WindowId("2026-01"))
    expected = []
    with engine.begin() as connection:
        for line, movement in enumerate(Movement):
            row = MOVEMENTS[movement]
            posting = Posting(
                CardToken("card_1"),
                movement,
                MerchantId("bakery"),
                MerchantId("cinema") if row.has_redeemer else None,
                day if row.is_of_lot else None,
                day,
                Points(line + 1),
                "PTS",
            )
            connection.execute(
                text(
                    "INSERT INTO postings (card, entry_index, position, line, movement, unit, issuer, redeemer,"
                    " expires_on, issued_in, points) VALUES"
                    " (:card, 0, 0, :line, :movement, :unit, :issuer, :redeemer, :expires_on, :issued_in, :points)"
                ),
                posting._asdict() | {"line": line, "movement": int(movement)},
            )
            name = movement.name.lower().replace("_", " ")
            expected.append((name, debit_account(posting), credit_account(posting), line + 1))
    with snapshot(engine) as connection:
        rows = connection.execute(
            text("SELECT movement, debit_account, credit_account, points FROM journal ORDER BY line")
        )
        assert [tuple(row) for row in rows] == expected
