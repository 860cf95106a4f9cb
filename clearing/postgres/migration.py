"""Bringing a database's tables up to what this program works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, inspect, text

from clearing.postgres.database_errors import SchemaMismatchError, translated_errors
from clearing.postgres.tables import metadata

MIGRATION_LOCK: Final = 0x636C_6561_7201
"""Key of the advisory lock under which migrations run: "clear" in ASCII, and 1."""

LOCK_TIMEOUT_SECONDS: Final = 60
STATEMENT_TIMEOUT_SECONDS: Final = 600

Progress = Callable[[str], None]
"""Receives a line of text for each migration that has been run."""


def migrate(engine: Engine, progress: Progress | None = None) -> None:
    """Create the tables, or change those of an older version, in one transaction; nothing where all is up to date.

    Processes that start together do this one after the other.

    Raises:
        SchemaMismatchError: the database was written by a newer version, or holds another program's tables.
        DatabaseUnavailableError: the database cannot be reached, or another process has been migrating for too long.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with translated_errors(), engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        _refuse_foreign_tables(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        config.attributes["progress"] = progress
        command.upgrade(config, "head")


def _refuse_foreign_tables(connection: Connection, scripts: ScriptDirectory) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        in_the_way = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
        if in_the_way:
            raise SchemaMismatchError(
                f"The database holds tables of another program ({', '.join(in_the_way)}). "
                "Create an empty database and name it in the database URL."
            )
        return
    try:
        scripts.get_revision(revision)
    except CommandError:
        raise SchemaMismatchError(
            f"The database was written by a newer version of this program (its tables are of version {revision}; "
            f"this program knows versions up to {scripts.get_current_head()}). Install the newer version."
        ) from None
