"""A process that commits batches for the gateway.

A batch takes some twenty exchanges with the database, after each of which the thread that commits would wait for its
turn in an interpreter that is busy deciding and answering. The process has an interpreter of its own, and that thread
waits once.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable
from typing import Final

import psycopg2
import sqlalchemy

from clearing.closing import Closing
from clearing.errors import ClearingError
from clearing.postgres.database import open_engine
from clearing.postgres.database_errors import DatabaseUnavailableError, message_of
from clearing.postgres.sql import Statement
from clearing.postgres.writing.recorder import CommitTimes, DatabaseRecorder
from clearing.runtime.helper_process import Answer, HelperLostError, HelperProcess

PATIENCE_SECONDS: Final = 60.0
"""How long a batch may take, beyond every time limit of the database's, before its process is taken to be frozen."""


class RecordingFailedError(Exception):
    """A batch could not be committed, in a way that correct operation never brings about."""


class RecorderProcess(Closing):
    """A recorder (``clearing.postgres.writing.recorder``) in a process of its own, which ends with the block."""

    def __init__(self, engine: sqlalchemy.Engine, application_name: str) -> None:
        """Start it, for the database of ``engine``; the server's own views show ``application_name``."""
        database_url = engine.url.render_as_string(hide_password=False)
        self._helper = HelperProcess("recorder", _committing, database_url, application_name)
        self._is_paused = True

    def commit(self, statements: Iterable[Statement]) -> CommitTimes:
        """Commit them in one transaction; see ``Recorder``.

        Raises ``RecordingFailedError`` where a recorder in this process would raise the driver's error.
        """
        self._is_paused = False
        answer = self._ask(list(statements))
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, CommitTimes)
        return answer

    def pause(self) -> None:
        """Hold no connection while there is nothing to do."""
        if not self._is_paused:
            self._is_paused = True
            self._ask([])

    @property
    def process_id(self) -> int | None:
        """Its id, for now: one that ends is replaced."""
        return self._helper.process_id

    def close(self) -> None:
        """End it; nothing may be under way."""
        self._helper.close()

    def _ask(self, statements: list[Statement]) -> object:
        try:
            answer = self._helper.ask(pickle.dumps(statements, pickle.HIGHEST_PROTOCOL), PATIENCE_SECONDS)
        except HelperLostError as error:
            return DatabaseUnavailableError(
                f"The process that commits batches was lost: {error}. Try again; if it lasts, look in the system's log "
                "for what ends it, such as a lack of memory."
            )
        return pickle.loads(answer)  # noqa: S301 - from our own process


def _committing(database_url: str, application_name: str) -> Answer:
    # Where a session ends during COPY, the driver not only raises that but also shows it by this hook, with the row.
    sys.excepthook = lambda kind, error, trace: None
    recorder: DatabaseRecorder | None = None

    def committed(statements: list[Statement]) -> CommitTimes | Exception | None:
        nonlocal recorder
        try:
            if not statements:
                if recorder is not None:
                    recorder.pause()
                return None
            # Only now, since the database may be away for a while.
            recorder = recorder or DatabaseRecorder(open_engine(database_url, application_name=application_name))
            return recorder.commit(statements)
        except ClearingError as error:
            return error
        except Exception as error:  # whatever it was, the writer must hear of it
            return RecordingFailedError(_story(error))

    return lambda question: pickle.dumps(committed(pickle.loads(question)))  # noqa: S301 - from our own process


def _story(error: Exception) -> str:
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    state = f" {cause.pgcode}" if isinstance(cause, psycopg2.Error) else ""
    return f"{type(cause).__name__}{state}: {message_of(error)}"
