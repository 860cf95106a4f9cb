"""The database goes away and comes back: crashed, stopped, or not answering; gateways wait for it and go on."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from clearing.postgres.embedded import server as embedded
from tests.back_office.installation import Installation
from tests.integration.alliance import ORIGIN, founded
from tests.integration.command import served, started
from tests.integration.test_health import NOT_SERVING, SERVING, status
from tests.integration.test_standby import standing_by
from tests.waiting import wait_until


@contextmanager
def postgres_frozen(data_directory: Path) -> Iterator[None]:
    """Within the block the server neither answers nor hangs up."""
    first = psutil.Process(int((data_directory / "cluster" / "postmaster.pid").read_text().split()[0]))
    frozen = [first]
    try:
        first.suspend()
        frozen += first.children()
        for process in frozen[1:]:
            process.suspend()
        yield
    finally:
        for process in frozen:
            process.resume()


def test_an_embedded_server_that_was_killed_is_started_again_by_the_gateway_that_uses_it(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        installed = Installation(Path(folder) / "home")
        installed.done("init", ORIGIN)
        postmaster = installed.home / "postgres" / "cluster" / "postmaster.pid"
        with started({"CLEARING_HOME": str(installed.home)}, tmp_path) as gateway:
            installed.address = gateway.wait_for("serving")["address"]
            installed.done("merchant", "admit", "bakery", "--name", "Bakery Ltd")

            os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)

            gateway.wait_for("embedded_database_restarted")
            installed.done("merchant", "admit", "cinema", "--name", "Cinema Ltd")
            assert [each["merchant"] for each in installed.json("merchant", "list")] == ["bakery", "cinema"]
            assert gateway.stop() == 0
            assert gateway.lines()[-1]["event"] == "stopped"
            assert not postmaster.exists()


def test_a_standby_waits_for_its_database_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        server = embedded.start(Path(folder), durable=False)
        try:
            with (
                founded(server.create_database("interrupted")) as alliance,
                served(alliance, tmp_path) as writer,
                standing_by(alliance, tmp_path) as patient,
                standing_by(alliance, tmp_path) as stopped,
            ):
                server.stop()
                for standby in (patient, stopped):
                    standby.wait_for("database_unavailable")
                assert stopped.stop() == 0
                writer.process.kill()
                assert patient.process.poll() is None
                server = embedded.start(Path(folder), durable=False)
                channel = alliance.channel
                alliance.call(patient.wait_for("serving")["address"])
                channel.close()
                alliance.admit("bakery")
                assert len(patient.lines("database_unavailable")) == 1
        finally:
            server.stop()


def test_a_gateway_whose_database_neither_answers_nor_hangs_up_says_so_by_health() -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        server = embedded.start(Path(folder), durable=False)
        try:
            with founded(server.create_database("frozen")) as alliance:
                assert status(alliance) == SERVING
                with postgres_frozen(Path(folder)):
                    wait_until(lambda: status(alliance) == NOT_SERVING)
                wait_until(lambda: status(alliance) == SERVING)
                alliance.admit("bakery")
        finally:
            server.stop()
