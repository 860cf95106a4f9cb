"""An alliance in a house of its own: a gateway and a PostgreSQL that can be killed at any instant, and get up again."""

from __future__ import annotations

import contextlib
import ctypes
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

import grpc
import psutil
import psycopg2

from clearing.postgres.embedded import server as embedded
from tests.integration.alliance import Alliance, founded
from tests.integration.command import settings_of
from tests.integration.forked_gateway import ForkedGateway
from tests.waiting import PATIENCE_SECONDS, wait_until

PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl(2)."""


class Blow(Enum):
    """What is killed with SIGKILL."""

    GATEWAY = "the gateway"
    HELPERS = "the gateway's helper processes"
    POSTGRES = "PostgreSQL, every process"
    POSTMASTER = "PostgreSQL's first process"
    BACKEND = "another process of PostgreSQL"
    MACHINE = "the gateway and PostgreSQL"


class House:
    """An alliance whose gateway and database are processes that can be killed, and come back."""

    def __init__(self, alliance: Alliance, server: embedded.EmbeddedPostgres, data: Path, folder: Path) -> None:
        """``data`` is the server's folder; logs are written to ``folder``. The alliance's own gateway ends."""
        alliance.close()
        self.alliance = alliance
        self.folder = folder
        self.address = ""
        self._server = server
        self._data = data
        self._settings = settings_of(alliance, folder / "home")
        if sys.platform == "linux":
            # Else recovery begins with an fsync of every file, though the system, which lives, has lost none: seconds,
            # where others use the disk too.
            with self._session() as session, session.cursor() as cursor:
                cursor.execute("ALTER SYSTEM SET recovery_init_sync_method = syncfs")
        self._gateway: ForkedGateway | None = None
        self._is_excused = False
        """Whether the database was killed since the gateway was started, which then may have ended by itself."""
        self._gone: list[grpc.Channel] = []

    def strike(self, blow: Blow, choices: random.Random, take_aim: Callable[[], None]) -> None:
        """Kill, as soon as ``take_aim`` returns."""
        if blow in (Blow.GATEWAY, Blow.HELPERS):
            take_aim()
        else:
            self._kill_server(blow, choices, take_aim)
        if blow in (Blow.GATEWAY, Blow.MACHINE):
            self._kill_gateway()
        if blow is Blow.HELPERS and self._gateway is not None:
            self._gateway.kill_helpers()

    def _kill_gateway(self) -> None:
        if self._gateway is not None:
            self._gateway.kill()
            self.require_no_defects()
            self._gateway = None

    def _kill_server(self, blow: Blow, choices: random.Random, take_aim: Callable[[], None]) -> None:
        with self._session() as observer:
            postmaster = psutil.Process(int((self._data / "cluster" / "postmaster.pid").read_text().split()[0]))
            others = sorted(postmaster.children(), key=lambda process: process.pid)
            match blow:
                case Blow.BACKEND:
                    killed = [choices.choice([each for each in others if each.pid != observer.info.backend_pid])]
                case Blow.POSTMASTER:
                    killed = [postmaster]
                case _:
                    killed = [postmaster, *others]
            self._is_excused = True
            take_aim()
            for process in killed:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(killed, timeout=PATIENCE_SECONDS)
            # Whatever is killed, PostgreSQL ends every session.
            wait_until(lambda: not _answers(observer))

    @contextmanager
    def _session(self) -> Iterator[psycopg2.extensions.connection]:
        dsn = self._server.url("postgres").replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(dsn)) as session:
            session.autocommit = True
            yield session

    def get_up(self) -> None:
        """Start what is not there; the gateway may be still starting when this returns."""
        # Where the server restarts by itself, this waits until it has.
        restarted = embedded.start(self._data)
        self._server.stop()
        self._server = restarted
        if self._gateway is None:
            self._gateway = ForkedGateway(self._settings, self.folder)
            self._is_excused = False
            self.address = ""

    def wait_until_serving(self) -> None:
        """Return once the gateway serves and the alliance's stubs call it."""
        wait_until(self._is_serving)

    def _is_serving(self) -> bool:
        assert self._gateway is not None
        if self.address:
            return True
        if self._gateway.has_ended():
            # Its database was killed while it started. What runs it, such as systemd, starts it again.
            assert self._is_excused, self._gateway.text()
            self._kill_gateway()
            self.get_up()
        self.address = self._gateway.address() or ""
        if self.address:
            # Only now is everybody done with the one before the last.
            for channel in self._gone:
                channel.close()
            self._gone = [self.alliance.channel]
            self.alliance.call(self.address)
        return bool(self.address)

    def require_no_defects(self) -> None:
        """The gateway has logged nothing that no crash of anything else excuses."""
        assert self._gateway is not None
        defects = self._gateway.defects()
        assert not defects, "\n".join(defects)

    def close(self) -> None:
        """End everything."""
        for channel in self._gone:
            channel.close()
        if self._gateway is not None:
            self._gateway.kill()
        self._server.stop()


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """A house of a bakery and a cinema, everything up; its database is durable, as one in use is."""
    with (
        tempfile.TemporaryDirectory(prefix="clearing-tests-") as data,
        _orphans_adopted(),
        embedded.start(Path(data)) as server,
        founded(server.create_database("killed"), clock="CLOCK_SYSTEM") as alliance,
    ):
        alliance.admit("bakery", "cinema")
        a_house = House(alliance, server, Path(data), folder)
        try:
            a_house.get_up()
            a_house.wait_until_serving()
            yield a_house
        finally:
            a_house.close()


@contextmanager
def _orphans_adopted() -> Iterator[None]:
    """Within the block, orphans of this process's children become its own, as PostgreSQL does.

    So a killed server can be waited for. The first process of some containers does that late or never, and PostgreSQL
    does not start while its killed first process is still listed.
    """
    if sys.platform != "linux":
        yield
        return
    library = ctypes.CDLL(None, use_errno=True)
    assert library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        library.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        for child in psutil.Process().children():
            if child.name() == "postgres":
                child.wait(PATIENCE_SECONDS)


def _answers(session: psycopg2.extensions.connection) -> bool:
    try:
        with session.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True
