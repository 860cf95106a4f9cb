"""Errors of the database, in this project's words; and the one place that translates the driver's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import sqlalchemy.exc

from clearing.errors import ClearingError


class InvalidDatabaseUrlError(ClearingError):
    """The database URL cannot be used as it is written; its text never repeats the URL, which may hold a password."""


class LogDamagedError(ClearingError):
    """The database's log or tables do not agree with themselves or with each other: something else changed them."""


class DatabaseUnavailableError(ClearingError):
    """The database cannot be reached, or cannot do its work now. What was not committed has not happened."""


class SchemaMismatchError(ClearingError):
    """The database's tables are not the ones this program works with."""


UNAVAILABLE_STATES: Final = frozenset(
    {
        "25006",  # read_only_sql_transaction: the server has become a standby
        "25P03",  # idle_in_transaction_session_timeout: this process was stopped in mid-batch
    }
)
"""SQLSTATEs that the driver files under programming errors, though the server's condition causes them."""

UNAVAILABLE_CLASSES: Final = ("08", "53", "57", "58")
"""SQLSTATE classes: connection exception, insufficient resources, operator intervention, system error."""

DATA_EXCEPTIONS: Final = "22"
"""The SQLSTATE class of values that cannot be what they should be."""

QUOTATIONS: Final = re.compile(r"^(?:DETAIL|HINT|QUERY|CONTEXT|LINE \d+):", re.MULTILINE)
"""Where the driver's text of an error begins to quote rows and statements."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's operational errors into ``DatabaseUnavailableError``; let programming errors through.

    Operational are a lost or refused connection, a server that shuts down, a full disk, a lock or statement timeout, a
    deadlock, an exhausted connection pool. Violated constraints and wrong SQL are not.
    """
    try:
        yield
    except sqlalchemy.exc.TimeoutError as error:
        raise DatabaseUnavailableError(
            "All connections of this process to the database are in use. Try again; if it lasts, send fewer calls "
            "at once."
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        if error.connection_invalidated or (isinstance(error.orig, psycopg2.Error) and is_operational(error.orig)):
            raise unavailable(error.orig) from error
        raise
    except psycopg2.Error as error:
        if is_operational(error):
            raise unavailable(error) from error
        raise


def is_operational(error: psycopg2.Error) -> bool:
    """Whether the server's or the network's condition, and not the statement, is at fault."""
    if isinstance(error, psycopg2.OperationalError):
        return True
    if error.pgcode is not None:
        return error.pgcode in UNAVAILABLE_STATES or error.pgcode.startswith(UNAVAILABLE_CLASSES)
    # Without an SQLSTATE the driver itself complains: about a connection that it found closed, or about its use.
    return "connection already closed" in str(error) or "server closed the connection" in str(error)


def unavailable(error: BaseException | None) -> DatabaseUnavailableError:
    """The error to raise in place of the driver's, with what to do."""
    # Details and context quote rows, and callers of one merchant would read another's.
    story = " ".join(message_of(error).split()).rstrip(".") if error is not None else ""
    match getattr(error, "pgcode", None):
        case "53100":
            advice = "The database's disk is full: make room on it, then try again."
        case "53300":
            advice = "The server takes no more connections: stop other programs, or raise its max_connections."
        case "25006":
            advice = "The server is a standby now: point the database URL at the primary server."
        case "55P03":
            advice = "Another session holds what is needed for too long: find it in pg_stat_activity, then try again."
        case _:
            advice = "Check that the server runs and can be reached, then try again."
    return DatabaseUnavailableError(f"The database is unavailable: {story or 'it gave no reason'}. {advice}")


def message_of(error: BaseException) -> str:
    """What an error says; of a database's error what the server or the driver says went wrong, and not with which rows.

    Rows hold card tokens and signatures.
    """
    if isinstance(error, sqlalchemy.exc.StatementError) and error.orig is not None:
        error = error.orig
    if not isinstance(error, psycopg2.Error):
        return str(error)
    message = error.diag.message_primary or QUOTATIONS.split(str(error), maxsplit=1)[0].strip()
    if (error.pgcode or "").startswith(DATA_EXCEPTIONS):
        return message.partition('"')[0].strip()  # the value stands there
    return message
