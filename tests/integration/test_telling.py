"""A metric or a log line that fails changes nothing of what callers hear: what it tells of has happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import pytest
import sqlalchemy
import structlog

from back_office.host.assembly import Gateway
from clearing.contract.receipt import Receipt
from clearing.errors import ErrorReason
from clearing.model import Outcome
from clearing.postgres.database_errors import LogDamagedError
from clearing.runtime.metrics import BatchSummary, Metrics
from clearing.v1.audit_pb2 import ListEntriesRequest
from clearing.v1.operations_pb2 import GetAllianceRequest
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.held_up import execute, hand_in, held_up, is_held_up
from tests.integration.observation import complaints, refusal
from tests.integration.test_overlap import COMMITTING_SESSION
from tests.integration.test_writer import earn, submission
from tests.waiting import wait_until


class FailingMetrics(Metrics):
    """Fails at whatever it is told, as one does that knows no place for a new outcome."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def observe_batch(self, batch: BatchSummary) -> None:
        self._fail("batch")

    def observe_call(self, method: str, code: str, seconds: float) -> None:
        self._fail(f"{method} {code}")

    def observe_rejection(self, reason: ErrorReason) -> None:
        self._fail(reason.name)

    def _fail(self, told: str) -> NoReturn:
        self.told.append(told)
        raise KeyError(told)


@pytest.fixture
def failing_log() -> Iterator[list[str]]:
    """A log that takes no line; the events of those that it was given."""
    events: list[str] = []

    def fail(_: object, __: str, event: Mapping[str, Any]) -> NoReturn:
        events.append(event["event"])
        raise OSError(28, "No space left on device")

    before = structlog.get_config()
    structlog.configure(processors=[fail], cache_logger_on_first_use=False)
    try:
        yield events
    finally:
        structlog.configure(**before)


def test_metrics_that_fail_are_nothing_to_callers(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    metrics = FailingMetrics()
    alliance.close()
    alliance.gateway = Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0", metrics=metrics)
    alliance.gateway.start()
    alliance.call(alliance.gateway.server.address)
    assert alliance.earn("bakery", card, 5).points_available == 5
    assert alliance.burn("bakery", card, 6).outcome is Outcome.INSUFFICIENT_POINTS
    asked = ListEntriesRequest(first_index=0, end_index=alliance.log_size())
    streamed = alliance.audit.ListEntries(asked, metadata=alliance.authorization(alliance.operator))
    assert sum(len(answer.entries) for answer in streamed) == alliance.log_size()
    forged = earn(alliance, card)
    forged.signatures[0].sig = bytes(64)
    assert refusal(submission(alliance, forged)).reason == "BAD_SIGNATURE"
    assert alliance.operations.GetAlliance(GetAllianceRequest()).log_size == alliance.log_size()
    wait_until(lambda: metrics.told.count("batch") == 2)
    assert {"MerchantGateway/Submit OK", "MerchantGateway/Submit UNAUTHENTICATED"} <= set(metrics.told)
    assert complaints(alliance.engine) == []


def test_a_log_that_takes_no_line_is_nothing_to_callers(alliance: Alliance, failing_log: list[str]) -> None:
    card = alliance.open_card("bakery")
    assert alliance.burn("bakery", card, 6).outcome is Outcome.INSUFFICIENT_POINTS
    forged = earn(alliance, card)
    forged.signatures[0].sig = bytes(64)
    assert refusal(submission(alliance, forged)).reason == "BAD_SIGNATURE"
    with held_up(alliance):
        lost = hand_in(alliance, earn(alliance, card))
        wait_until(lambda: is_held_up(alliance))
        assert execute(alliance.engine, COMMITTING_SESSION) == 1
        assert reason_of(lost.exception(CALL_TIMEOUT_SECONDS)) is ErrorReason.DATABASE_UNAVAILABLE
    assert alliance.earn("bakery", card, 5).points_available == 5
    wait_until(lambda: {"batch", "rejected", "database_unavailable"} <= set(failing_log))
    assert complaints(alliance.engine) == []


def reason_of(error: BaseException | None) -> ErrorReason | None:
    return getattr(error, "reason", None)


def test_an_older_entry_that_cannot_be_read_fails_the_call_that_asks_for_it_and_no_other(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    old = earn(alliance, card)
    (receipt,) = alliance.submit(old)
    with alliance.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM entries WHERE index = :index"), {"index": receipt.index})
    with held_up(alliance):
        first = hand_in(alliance, earn(alliance, card))
        wait_until(lambda: is_held_up(alliance))
        # These two wait together, and are one batch.
        repeated, new = hand_in(alliance, old), hand_in(alliance, earn(alliance, card))
    for call in (first, new):
        (reply,) = call.result(CALL_TIMEOUT_SECONDS)
        assert isinstance(reply, Receipt)
        assert not reply.replayed
    with pytest.raises(LogDamagedError, match=f"entry {receipt.index} is missing"):
        repeated.result(CALL_TIMEOUT_SECONDS)
