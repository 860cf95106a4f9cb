"""Connections to the database: opened once, checked at once, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import sqlalchemy.exc
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.pool import ConnectionPoolEntry

from clearing.postgres.database_errors import (
    DatabaseUnavailableError,
    InvalidDatabaseUrlError,
    is_operational,
    translated_errors,
)

DRIVER: Final = "postgresql+psycopg2"
EXAMPLE: Final = "postgresql+psycopg2://user:password@host:5432/database"
OLDEST_SERVER_VERSION: Final = 15
"""Older servers lack settings used here, or are no longer maintained."""

CONNECT_TIMEOUT_SECONDS: Final = 10
CONNECTIONS_MAX: Final = 24
CONNECTION_WAIT_SECONDS: Final = 10
FROZEN_AFTER_SECONDS: Final = 30
"""How long a transaction may be left idle: a process stopped in mid-batch loses its locks after that."""

CONNECT_ARGUMENTS: Final = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "client_encoding": "utf8",
    # A dead network is noticed within a minute, not after the operating system's two hours; and in mid-statement, where
    # keepalives do not count, not after its quarter of an hour.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "options": f"-c TimeZone=UTC -c DateStyle=ISO -c idle_in_transaction_session_timeout={FROZEN_AFTER_SECONDS}s",
}


def open_engine(url: str, *, application_name: str = "clearing") -> Engine:
    """A pool of connections to the database at ``url``, one of which has been tried.

    ``application_name`` is what the server's own views show for these connections.

    Raises:
        InvalidDatabaseUrlError: the URL is malformed or names another database system or driver.
        DatabaseUnavailableError: the server cannot be reached, refuses the login, lacks the database, or is too old.
    """
    parsed = parse_database_url(url)
    engine = create_engine(
        parsed,
        connect_args=CONNECT_ARGUMENTS | {"application_name": application_name},
        pool_size=CONNECTIONS_MAX // 2,
        max_overflow=CONNECTIONS_MAX - CONNECTIONS_MAX // 2,
        pool_timeout=CONNECTION_WAIT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # parameters are card tokens and signed bytes: not for error texts and logs
    )
    event.listen(engine, "connect", _insist_on_durable_commits)
    try:
        with engine.connect() as connection:
            _check_server(connection)
    except sqlalchemy.exc.DBAPIError as error:
        engine.dispose()
        if not isinstance(error.orig, psycopg2.Error) or not is_operational(error.orig):
            # The connection library refused an option of the URL and may have quoted it: hence "from None".
            raise InvalidDatabaseUrlError(
                f"The options after the question mark in the database URL are not understood. Write {EXAMPLE}."
            ) from None
        story = " ".join(str(error.orig).split())
        raise DatabaseUnavailableError(
            f"Cannot open {_description(parsed)}: {_without_secrets(story, parsed)}. "
            "Check the host, port, user, password and database name in the database URL, and that the server runs."
        ) from None
    except DatabaseUnavailableError:
        engine.dispose()
        raise
    return engine


def parse_database_url(url: str) -> URL:
    """The parts of a database URL. Raises InvalidDatabaseUrlError."""
    try:
        parsed = make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # "from None": the library's error may quote the URL, and with it the password.
        raise InvalidDatabaseUrlError(f"The database URL cannot be read. Write it like {EXAMPLE}.") from None
    if parsed.drivername != DRIVER:
        raise InvalidDatabaseUrlError(
            f"The database URL begins with {parsed.drivername}://, and only {DRIVER}:// is supported. "
            f"Write it like {EXAMPLE}."
        )
    if "@" in (parsed.host or ""):
        raise InvalidDatabaseUrlError("The password in the database URL contains @. Write it as %40.")
    if not parsed.database:
        raise InvalidDatabaseUrlError(f"The database URL names no database. Write it like {EXAMPLE}.")
    return parsed


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction in which every query sees the same committed state.

    Raises DatabaseUnavailableError.
    """
    with translated_errors(), engine.connect() as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _check_server(connection: Connection) -> None:
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    if version < OLDEST_SERVER_VERSION:
        raise DatabaseUnavailableError(
            f"The server is PostgreSQL {version}; this program needs PostgreSQL {OLDEST_SERVER_VERSION} or newer. "
            "Upgrade the server."
        )


def _insist_on_durable_commits(connection: psycopg2.extensions.connection, _: ConnectionPoolEntry) -> None:
    """Undo a server's or a role's default of commits that are acknowledged before they are durable.

    Stronger settings than ``on`` stay as they are.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    connection.commit()


def _description(url: URL) -> str:
    host = url.host or url.query.get("host") or "the local socket"
    port = f" port {url.port}" if url.port else ""
    user = f" as {url.username}" if url.username else ""
    return f"the database {url.database} on {host}{port}{user}"


def _without_secrets(story: str, url: URL) -> str:
    secrets = (url.password, url.query.get("password"), url.query.get("sslpassword"))
    for secret in secrets:
        if isinstance(secret, str) and secret:
            story = story.replace(secret, "***")
    return story
