"""A real PostgreSQL 18 with nothing to install, shared by the processes that use one data folder.

A data folder is on a local disk and used by one operating system user (or by root). In it:

* `cluster/` is PostgreSQL's own data directory, with its settings (`clearing.conf`) and log (`server.log`).
* `users.lock` is held shared by every process that uses the server. The kernel drops the lock when a process
  ends, however it ends, so nothing can go stale.
* `change.lock` is held alone while the server is made, started or stopped.

How a process ends decides what becomes of the server:

* At a normal exit, an exception or Ctrl-C, the last user stops the server; earlier ones leave it running.
* SIGTERM ends a Python process without its exit handlers unless the program handles the signal; SIGKILL
  always does. The server then goes on running and nothing is lost: the next `start` on the folder uses it
  again, and the last user's exit stops it.
* If the server is killed or the machine goes down, the next `start` or `start_again` runs PostgreSQL's crash
  recovery: what was committed is there, except with `durable=False`.

A process forked without exec shares its parent's hold, and leaves stopping to the parent.
"""

import atexit
import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg2
import psycopg2.errors
import psycopg2.sql
import sqlalchemy

from clearing.postgres.embedded.cluster import PORT, SUPERUSER, PostgresCluster
from clearing.postgres.embedded.owner import EmbeddedPostgresError

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "start"]

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """This process's hold on a running server; made by `start`, given back by `stop` or by leaving `with`."""

    def __init__(self, cluster: PostgresCluster, settings: str, users_lock: int) -> None:
        """`settings` are what the server runs with.

        `users_lock` is an open file that holds `users.lock` shared, and becomes this object's own.
        """
        self._cluster = cluster
        self._settings = settings
        self._users_lock: int | None = users_lock
        self._process_id = os.getpid()
        atexit.register(self._stop_at_exit)

    def __enter__(self) -> Self:
        """Nothing more: the server runs already."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Like `stop`."""
        self.stop()

    @property
    def log_path(self) -> Path:
        """The file to which the server writes what happens to it."""
        return self._cluster.log_path

    def is_listening(self) -> bool:
        """Whether the server's process is there, be it to say that it is starting up; costs next to nothing."""
        return self._cluster.is_listening()

    def start_again(self) -> bool:
        """Start the server if it does not run any more, after crash recovery; whether that was needed.

        Raises:
            EmbeddedPostgresError: it does not start.
        """
        data_directory = self._cluster.directory.parent
        with _reported(data_directory), _held_alone(data_directory):
            if self._cluster.is_running():
                return False
            self._cluster.start(self._settings)
            return True

    def url(self, database: str) -> str:
        """SQLAlchemy URL of `database` on this server, whether it exists or not."""
        return sqlalchemy.URL.create(
            "postgresql+psycopg2",
            username=SUPERUSER,
            database=database,
            query={"host": str(self._cluster.socket_directory), "port": str(PORT)},
        ).render_as_string()

    def create_database(self, database: str) -> str:
        """Create `database` unless it exists already, and return its URL.

        Raises:
            EmbeddedPostgresError: the server refused, or cannot be reached.
        """
        create = psycopg2.sql.SQL("CREATE DATABASE {}").format(psycopg2.sql.Identifier(database))
        # Two processes that create it at the same instant may meet in the catalogue's unique index.
        self._administer(create, tolerated=(psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation))
        return self.url(database)

    def drop_database(self, database: str) -> None:
        """End all connections to `database` and remove it, if it exists.

        Raises:
            EmbeddedPostgresError: the server refused, or cannot be reached.
        """
        drop = psycopg2.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(psycopg2.sql.Identifier(database))
        self._administer(drop)

    def stop(self) -> None:
        """Give the server back, and stop it if no other process uses it. A second call does nothing.

        Stopping ends the connections that are still open, and rolls back what they had not committed.

        Raises:
            EmbeddedPostgresError: the server does not stop.
        """
        if self._users_lock is None or os.getpid() != self._process_id:
            return
        users_lock, self._users_lock = self._users_lock, None
        atexit.unregister(self._stop_at_exit)
        data_directory = self._cluster.directory.parent
        with _reported(data_directory), _closing(users_lock), _held_alone(data_directory):
            if _no_other_user(users_lock):
                self._cluster.stop()

    def _stop_at_exit(self) -> None:
        try:
            self.stop()
        except EmbeddedPostgresError as error:
            logger.warning("%s", error)

    def _administer(self, statement: psycopg2.sql.Composed, tolerated: tuple[type[psycopg2.Error], ...] = ()) -> None:
        socket_directory = str(self._cluster.socket_directory)
        try:
            connection = psycopg2.connect(host=socket_directory, port=PORT, user=SUPERUSER, dbname="postgres")
            with contextlib.closing(connection), connection.cursor() as cursor:
                connection.autocommit = True
                with contextlib.suppress(*tolerated):
                    cursor.execute(statement)
        except psycopg2.Error as error:
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL in {self._cluster.directory} says: {str(error).strip()}. "
                f"Its log is {self._cluster.log_path}."
            ) from error


def start(data_directory: Path, *, durable: bool = True) -> EmbeddedPostgres:
    """Make sure that a server runs on `data_directory`, and hold it until `stop` or the end of this process.

    A new folder gets a new, empty server. A server that runs already, for another process or left over by a
    killed one, is used as it is. `durable=False` switches fsync off, which only a throw-away database can
    afford: the data does not survive a crash of the machine.

    Started by root, the server runs as the system user `clearing-postgres`, made when it is missing, and the
    folders above the data folder and above the wheel become passable (not readable) for others.

    Raises:
        EmbeddedPostgresError: the folder cannot be written, or was written by another version, or is in use
        with other settings; or the server does not start.
    """
    data_directory = data_directory.expanduser().absolute()
    with _reported(data_directory):
        data_directory.mkdir(parents=True, exist_ok=True)
        data_directory = data_directory.resolve()
        cluster = PostgresCluster(data_directory / "cluster")
        users_lock = _open_lock(data_directory / "users.lock")
        with contextlib.ExitStack() as undo, _held_alone(data_directory):
            undo.callback(os.close, users_lock)
            cluster.create_if_missing()
            settings = cluster.settings(durable=durable)
            if cluster.is_running() and not cluster.has_settings(settings):
                if not _no_other_user(users_lock):
                    raise EmbeddedPostgresError(
                        f"The embedded PostgreSQL in {data_directory} is in use by another process with "
                        "other settings. Stop that process first, or choose another data folder."
                    )
                cluster.stop()
            if not cluster.is_running():
                cluster.start(settings)
            fcntl.flock(users_lock, fcntl.LOCK_SH)
            undo.pop_all()
    return EmbeddedPostgres(cluster, settings, users_lock)


def _open_lock(path: Path) -> int:
    # Python opens files so that programs run with exec do not inherit them: the server never holds our locks.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _no_other_user(users_lock: int) -> bool:
    """Whether no other open file holds `users.lock`; asked only while `change.lock` is held."""
    try:
        fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _held_alone(data_directory: Path) -> Iterator[None]:
    with _closing(_open_lock(data_directory / "change.lock")) as change_lock:
        fcntl.flock(change_lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _reported(data_directory: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except OSError as error:
        where = error.filename or data_directory
        raise EmbeddedPostgresError(
            f"The database folder {data_directory} cannot be used: {error.strerror or error} ({where}). "
            "Choose a folder on a local disk that you can write, with room to spare, or repair this one."
        ) from error
