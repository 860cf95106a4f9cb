"""The gateway's machine has the wrong time: the ledger's time never goes back, and replays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from back_office.host.assembly import Gateway
from clearing.clock import system_time
from clearing.contract.entry import decode_entry, timestamp_of
from clearing.model import Instant, Outcome
from clearing.postgres.database import snapshot
from clearing.postgres.reading.log_reads import stream_entries
from clearing.v1 import audit_pb2, merchant_gateway_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from settlement.auditing.audit import verify_export
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance, founded
from tests.integration.observation import complaints, log_size, refusal, untouched

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class WrongClock:
    """A wall clock that is off by what a test says."""

    off = timedelta()

    def __call__(self) -> Instant:
        return Instant(system_time() + self.off // timedelta(microseconds=1))


@pytest.fixture
def clock() -> WrongClock:
    return WrongClock()


@pytest.fixture
def alliance(database_url: str, clock: WrongClock) -> Iterator[Alliance]:
    """An alliance under the system clock, whose gateway's clock is ``clock``; everybody else's is right."""
    with founded(database_url, clock="CLOCK_SYSTEM", founded_days_ago=30) as an_alliance:
        an_alliance.admit("bakery")
        restart(an_alliance, clock)
        yield an_alliance


def restart(alliance: Alliance, clock: WrongClock) -> None:
    alliance.close()
    alliance.gateway = Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0", wall_clock=clock)
    alliance.gateway.start()
    alliance.call(alliance.gateway.server.address)


def earn(alliance: Alliance, card: str, at: Instant) -> Envelope:
    """One point, signed by a till that has this time."""
    transaction = alliance.transaction(
        "bakery", card, occurred_at=timestamp_of(at), earn=presentment_pb2.Earn(points=1)
    )
    return alliance.envelope(alliance.presentment("bakery", transaction, presented_at=timestamp_of(at)))


def accepted_at(alliance: Alliance, envelope: Envelope) -> Instant:
    """The time of the envelope's entry, which is accepted."""
    (receipt,) = alliance.submit(envelope)
    entry = decode_entry(receipt.entry)
    assert [result.outcome for result in entry.transaction_results] == [Outcome.ACCEPTED]
    return entry.accepted_at


def refused_read(alliance: Alliance) -> str:
    """Why a read is refused whose caller has the right time."""
    request, metadata = audit_pb2.GetCheckpointRequest(), alliance.authorization(alliance.operator)
    return refusal(lambda: alliance.audit.GetCheckpoint(request, metadata=metadata)).reason


@contextmanager
def ledger_holds(alliance: Alliance, folder: Path) -> Iterator[None]:
    """After the block time has never gone back, the books balance, and an auditor's replay comes to the same."""
    yield
    with snapshot(alliance.engine) as connection:
        times = [entry.accepted_at for entry in stream_entries(connection, 0, log_size(alliance.engine))]
    assert times == sorted(times)
    assert complaints(alliance.engine) == []
    alliance.export(folder)
    verify_export(folder, alliance.log_key.verifier)


def test_a_clock_set_back_by_an_hour_stops_the_ledgers_time_and_refuses_nothing_for_good(
    alliance: Alliance, clock: WrongClock, tmp_path: Path
) -> None:
    with ledger_holds(alliance, tmp_path / "log"):
        card = alliance.open_card("bakery")
        before = accepted_at(alliance, earn(alliance, card, system_time()))
        clock.off = -HOUR
        assert accepted_at(alliance, earn(alliance, card, clock())) == before
        restart(alliance, clock)
        assert accepted_at(alliance, earn(alliance, card, clock())) == before, "another machine's clock may be behind"
        from_a_till_with_the_right_time = earn(alliance, card, system_time())
        request = merchant_gateway_pb2.SubmitRequest(envelopes=[from_a_till_with_the_right_time])
        with untouched(alliance.engine):
            heard = refusal(lambda: alliance.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS))
            assert (heard.code, heard.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CLOCK_SKEW")
            assert refused_read(alliance) == "BAD_TOKEN"
        clock.off = timedelta()
        assert accepted_at(alliance, from_a_till_with_the_right_time) > before


def test_a_clock_set_forward_by_a_day_and_back_holds_the_ledgers_time_where_it_was(
    alliance: Alliance, clock: WrongClock, tmp_path: Path
) -> None:
    with ledger_holds(alliance, tmp_path / "log"):
        card = alliance.open_card("bakery")
        clock.off = DAY
        began = clock()
        ahead = accepted_at(alliance, earn(alliance, card, system_time()))
        assert ahead >= began
        assert refused_read(alliance) == "TOKEN_EXPIRED"
        clock.off = timedelta()
        assert accepted_at(alliance, earn(alliance, card, system_time())) == ahead
        assert alliance.earn("bakery", card, 1).points_available == 3
