"""A process that commits batches for the gateway.

A batch takes some twenty exchanges with the database, after each of which the thread that commits would wait for its
turn in an interpreter that is busy deciding and answering. The process has an interpreter of its own, and that thread
waits once.
"""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections.abc import Iterable
from typing import Final

import psycopg2
import sqlalchemy
import structlog

from clearing.closing import Closing
from clearing.errors import ClearingError
from clearing.postgres.database import open_engine
from clearing.postgres.database_errors import DatabaseUnavailableError, message_of
from clearing.postgres.sql import Statement
from clearing.postgres.writing.recorder import CommitTimes, DatabaseRecorder
from clearing.runtime.helper_process import Answer, HelperProcess

logger = structlog.get_logger()

PATIENCE_SECONDS: Final = 60.0
"""How long a batch may take, beyond every time limit of the database's, before its process is taken to be frozen."""
WATCH_SECONDS: Final = 1.0


class RecordingFailedError(Exception):
    """A batch could not be committed, in a way that correct operation never brings about."""


class RecorderProcess(Closing):
    """A recorder (``clearing.postgres.writing.recorder``) in a process of its own, which ends with the block."""

    def __init__(self, engine: sqlalchemy.Engine, application_name: str) -> None:
        """Start it, for the database of ``engine``; the server's own views show ``application_name``."""
        self._arguments = (engine.url.render_as_string(hide_password=False), application_name)
        self._helper = self._start()
        self._is_paused = True
        self._asked_s: float | None = None
        """Since when an answer is awaited, by the monotonic clock."""
        self._closing = threading.Event()
        threading.Thread(target=self._watch, name="recorder watch", daemon=True).start()

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
        """End it."""
        self._closing.set()
        self._helper.close()

    def _watch(self) -> None:
        """Kill the process if it is frozen; whoever waits for it learns that it is gone."""
        while not self._closing.wait(WATCH_SECONDS):
            asked_s = self._asked_s
            if asked_s is not None and time.monotonic() - asked_s > PATIENCE_SECONDS:
                self._helper.kill()

    def _start(self) -> HelperProcess:
        return HelperProcess("recorder", _committing, *self._arguments)

    def _ask(self, statements: list[Statement]) -> object:
        question = pickle.dumps(statements, pickle.HIGHEST_PROTOCOL)
        self._asked_s = time.monotonic()
        try:
            answer = self._helper.ask(question)
        except (OSError, EOFError):
            logger.warning("recorder_lost", process_id=self._helper.process_id)
            self._helper.close()
            try:
                self._helper = self._start()
            except OSError as error:  # the next batch finds the old one gone, and tries again
                return DatabaseUnavailableError(
                    f"The process that commits batches has ended, and no other can be started: {error.strerror}. Let "
                    "the gateway have more open files, processes or memory."
                )
            return DatabaseUnavailableError(
                "The process that commits batches has ended, and another is started. Try again; if it lasts, look in "
                "the system's log for what ends it, such as a lack of memory."
            )
        finally:
            self._asked_s = None
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
