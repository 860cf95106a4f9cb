"""Two gateways on one database: one writes, the other stands by and takes over; never do both commit."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import sqlalchemy

from clearing.v1 import merchant_gateway_pb2
from tests.back_office.installation import Installation
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, ORIGIN, Alliance
from tests.integration.command import Served, served, settings_of, started
from tests.integration.observation import refusal_of
from tests.integration.test_writer import earn
from tests.integration.tills import at_work
from tests.waiting import wait_until


@contextmanager
def standing_by(alliance: Alliance, folder: Path) -> Iterator[Served]:
    """One more gateway of the alliance, which has found the first one writing."""
    with started(settings_of(alliance, folder / "home"), folder) as standby:
        standby.wait_for("standing_by")
        yield standby


def take_over(alliance: Alliance, standby: Served) -> grpc.Channel:
    """Call the gateway that stood by, once it serves; the channel to the one before."""
    before = alliance.channel
    alliance.call(standby.wait_for("serving")["address"])
    return before


def test_a_standby_says_once_what_it_waits_for_and_takes_over_when_the_writer_is_killed(
    alliance: Alliance, tmp_path: Path
) -> None:
    with served(alliance, tmp_path) as first, standing_by(alliance, tmp_path) as standby:
        with at_work(alliance) as tills:
            tills.wait_for_answers(100)
            first.process.kill()
            before = take_over(alliance, standby)
            tills.wait_for_every_till()
        before.close()
        (said,) = standby.lines("standing_by")
        assert (said["application"], said["address"]) == ("clearing gateway", None)
        assert said["session"] > 0
        assert standby.lines("serving")[0]["entries"] > 100
        tills.verify()


def test_a_writer_that_was_frozen_is_replaced_and_fenced_when_it_wakes_up(alliance: Alliance, tmp_path: Path) -> None:
    with served(alliance, tmp_path) as frozen, standing_by(alliance, tmp_path) as standby:
        card = alliance.open_card("bakery")
        request = merchant_gateway_pb2.SubmitRequest(envelopes=[earn(alliance, card)])
        with ThreadPoolExecutor(1) as threads, at_work(alliance, attempt_seconds=5) as tills:
            tills.wait_for_answers(100)
            frozen.process.send_signal(signal.SIGSTOP)
            late = threads.submit(alliance.merchants.Submit, request, timeout=CALL_TIMEOUT_SECONDS * 2)
            before = take_over(alliance, standby)
            tills.wait_for_every_till()
            frozen.process.send_signal(signal.SIGCONT)
            error = late.exception()
            assert frozen.process.wait(CALL_TIMEOUT_SECONDS) == 1
            tills.wait_for_every_till()
        before.close()
        assert isinstance(error, grpc.RpcError)
        assert refusal_of(error).code is grpc.StatusCode.UNAVAILABLE
        assert refusal_of(error).reason in ("FENCED", "DATABASE_UNAVAILABLE")
        assert frozen.lines("writer_stopped") != []
        assert "has ended because its writer stopped" in frozen.text()
        assert "Traceback" not in frozen.text()
        assert standby.process.poll() is None
        (receipt,) = alliance.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS).receipts
        assert not receipt.replayed, "what the frozen gateway held was not recorded"
        tills.verify()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_standby_that_is_told_to_stop_exits_with_0_and_leaves_the_writer_alone(
    alliance: Alliance, tmp_path: Path, number: int
) -> None:
    with started(settings_of(alliance, tmp_path / "home"), tmp_path) as standby:
        standby.wait_for("standing_by")
        assert standby.stop(number) == 0
        assert [line["event"] for line in standby.lines()] == ["standing_by", "stopped"]
    alliance.open_card("bakery")


def test_settings_that_cannot_be_served_with_are_refused_before_standing_by(alliance: Alliance, tmp_path: Path) -> None:
    with started(settings_of(alliance, tmp_path / "home"), tmp_path, "--address", "0.0.0.0:0") as careless:
        assert careless.process.wait(CALL_TIMEOUT_SECONDS) == 1
        assert "0.0.0.0 is not loopback" in careless.text()
        assert "standing_by" not in careless.text()


def test_a_standby_leaves_the_tables_alone_until_the_writer_has_ended(alliance: Alliance, tmp_path: Path) -> None:
    with served(alliance, tmp_path) as writer:
        # As a standby of another version finds them.
        with alliance.engine.begin() as connection:
            connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'another'"))
        with standing_by(alliance, tmp_path) as standby:
            alliance.open_card("bakery")
            assert writer.stop() == 0
            assert standby.process.wait(CALL_TIMEOUT_SECONDS) == 1
            assert "was written by a newer version" in standby.text()


def test_gateways_that_share_an_embedded_database_keep_it_running_for_each_other(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        installed = Installation(Path(folder) / "home")
        installed.done("init", ORIGIN)
        server = installed.home / "postgres" / "cluster" / "postmaster.pid"
        settings = {"CLEARING_HOME": str(installed.home)}
        with started(settings, tmp_path) as first, started(settings, tmp_path) as second:
            wait_until(lambda: any(each.lines("serving") for each in (first, second)))
            writer, standby = (first, second) if first.lines("serving") else (second, first)
            standby.wait_for("standing_by")
            installed.address = writer.lines("serving")[0]["address"]
            installed.done("merchant", "admit", "bakery", "--name", "Bakery Ltd")
            running = server.read_text()

            writer.process.kill()
            installed.address = standby.wait_for("serving")["address"]
            assert [merchant["merchant"] for merchant in installed.json("merchant", "list")] == ["bakery"]
            assert server.read_text() == running
            assert standby.stop() == 0
            assert not server.exists(), "the last one stops the server"
