"""The disk fills up under load, and has room again: nothing that was acknowledged is lost, and the gateway goes on."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import sqlalchemy

from clearing.postgres.embedded import server as embedded
from clearing.postgres.embedded.owner import give, server_owner
from tests.integration.alliance import Alliance, founded
from tests.integration.command import served
from tests.integration.held_up import execute
from tests.integration.observation import Refusal, refusal_of
from tests.integration.tills import Tills, at_work
from tests.waiting import wait_until

UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", "clearing", "", "", True)
MEBIBYTE = 1024 * 1024
PAGE_BYTES = 4096
LOG_FILLS_MAX = 100
CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
"""A process that lives as long as the server does without a crash."""
INTERRUPTIONS = 10
"""Calls of the tills that were turned away while the disk was full."""


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """A file system of this size, which belongs to whoever runs PostgreSQL."""
    owner = server_owner()
    rights = f"mode=755,uid={owner.pw_uid},gid={owner.pw_gid}" if owner is not None else "mode=755"
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        disk = Path(folder)
        disk.chmod(0o755)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,{rights}", "none", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("only root can mount a small disk")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Within the block nothing has any room there."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for size in (MEBIBYTE, PAGE_BYTES):
                with contextlib.suppress(OSError):  # there is no room
                    while True:
                        file.write(bytes(size))
        assert shutil.disk_usage(disk).free == 0
        yield
    finally:
        ballast.unlink()


@contextmanager
def database_on(disk: Path, database_url: str) -> Iterator[str]:
    """An empty database whose tables are on this disk, while the server and its log are elsewhere."""
    tables, name = disk / "tables", f"small_{uuid.uuid4().hex}"
    tables.mkdir()
    give(tables, server_owner())
    engine = sqlalchemy.create_engine(database_url, isolation_level="AUTOCOMMIT")

    def administer(*statements: str) -> None:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))

    try:
        administer(f"CREATE TABLESPACE {name} LOCATION '{tables}'", f"CREATE DATABASE {name} TABLESPACE {name}")
        yield engine.url.set(database=name).render_as_string(hide_password=False)
    finally:
        administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"DROP TABLESPACE {name}")
        engine.dispose()


def use_up_the_log(alliance: Alliance) -> None:
    """Write to the database's own log until it has no room for more, which ends the server."""
    fill = sqlalchemy.text("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 8000000))")
    with alliance.engine.connect() as connection:
        for _ in range(LOG_FILLS_MAX):
            try:
                connection.execute(fill)
            except sqlalchemy.exc.OperationalError:
                return
    pytest.fail("there was room after all")


def sell_until_refused(alliance: Alliance, tills: Tills) -> None:
    """Have the tills use up the room that is left in what the database has already."""

    def is_refused() -> bool:
        try:
            # Of another merchant and a card of its own, so that the tills know what their cards hold.
            alliance.open_card("cinema")
        except grpc.RpcError as error:
            return refusal_of(error) == UNAVAILABLE
        return False

    wait_until(is_refused)
    wait_until(lambda: len(tills.interruptions) > INTERRUPTIONS)


def test_a_full_disk_of_the_tables_is_named_and_outlived_without_a_restart(
    postgres: embedded.EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    """PostgreSQL itself survives this: its own log, on another disk, can still be written."""
    with small_disk(40) as disk, database_on(disk, database_url) as url, founded(url) as alliance:
        alliance.admit("bakery", "cinema")
        with served(alliance, tmp_path) as gateway:
            with at_work(alliance) as tills:
                tills.wait_for_answers(50)
                with full(disk):
                    sell_until_refused(alliance, tills)
                    answered = tills.answers()
                    said = gateway.wait_for("database_unavailable")["error"]
                    assert "The database's disk is full: make room on it, then try again." in said
                    assert alliance.log_size() > 0
                tills.wait_for_every_till()
                assert tills.answers() > answered
            tills.verify()
            assert gateway.stop() == 0


def test_a_full_disk_of_the_databases_log_ends_the_database_and_loses_nothing(tmp_path: Path) -> None:
    """PostgreSQL ends rather than acknowledge what it cannot write; started again, it has all that it acknowledged."""
    with small_disk(160) as disk:
        server = embedded.start(disk / "data")
        try:
            with founded(server.create_database("full")) as alliance:
                alliance.admit("bakery", "cinema")
                checkpointer = execute(alliance.engine, CHECKPOINTER)
                with served(alliance, tmp_path) as gateway:
                    with at_work(alliance) as tills:
                        tills.wait_for_answers(50)
                        with full(disk):
                            use_up_the_log(alliance)
                            sell_until_refused(alliance, tills)
                            gateway.wait_for("database_unavailable")
                        server.start_again()  # PostgreSQL may have done so itself
                        assert execute(alliance.engine, CHECKPOINTER) != checkpointer
                        tills.wait_for_every_till()
                    tills.verify()
                    assert gateway.stop() == 0
        finally:
            server.stop()
