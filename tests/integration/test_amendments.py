"""Amendments of the constitution over real gRPC and PostgreSQL, through a restart, and in the audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from clearing.contract.entry import timestamp_of
from clearing.model import MICROSECONDS_PER_DAY, Instant, Outcome
from clearing.v1 import instruction_pb2, operations_pb2
from settlement.auditing.audit import verify_export
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import refusal, untouched


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(database_url, notice_days=5) as alliance:
        alliance.admit("bakery", "cinema")
        yield alliance


def amended(alliance: Alliance, effective_from: str, **changes: int) -> Outcome:
    action = instruction_pb2.AmendConstitution(effective_from=effective_from, **changes)
    return outcome_of(alliance, amend_constitution=action)


def outcome_of(alliance: Alliance, **action: Any) -> Outcome:
    result = alliance.instruct(signers=[alliance.operator, alliance.second_operator], **action).instruction_result
    assert result is not None
    return result.outcome


def told(alliance: Alliance) -> operations_pb2.GetAllianceResponse:
    return alliance.operations.GetAlliance(operations_pb2.GetAllianceRequest())


def test_an_amendment_takes_two_people_even_where_four_eyes_are_not_asked_for(alliance: Alliance) -> None:
    action = instruction_pb2.AmendConstitution(effective_from="2026-02-01", late_presentment_days=3)
    with untouched(alliance.engine):
        assert refusal(lambda: alliance.instruct(amend_constitution=action)).reason == "SECOND_SIGNATURE_REQUIRED"


def test_an_amendment_is_told_holds_from_its_day_and_replays(alliance: Alliance, tmp_path: Path) -> None:
    card = alliance.open_card("bakery")
    alliance.travel("2026-01-20 10:00:00")
    assert amended(alliance, "2026-01-24", late_presentment_days=3) is Outcome.AMENDMENT_TOO_SOON
    assert amended(alliance, "2026-01-25", late_presentment_days=3) is Outcome.ACCEPTED
    assert amended(alliance, "2026-01-25", late_presentment_days=3) is Outcome.CONSTITUTION_UNCHANGED
    answer = told(alliance)
    assert answer.constitution.late_presentment_days == 7
    (coming,) = answer.amendments
    assert MessageToDict(coming.amendment) == {"effectiveFrom": "2026-01-25", "latePresentmentDays": 3}
    assert alliance.log_size() == coming.entry_index + 2

    alliance.travel("2026-01-24 10:00:00")
    sold = timestamp_of(Instant(alliance.now - 5 * MICROSECONDS_PER_DAY))
    assert alliance.earn("bakery", card, 10, occurred_at=sold).outcome is Outcome.ACCEPTED
    alliance.close()
    alliance.travel("2026-01-25 00:00:01")
    alliance.open()
    assert alliance.earn("bakery", card, 10, occurred_at=sold).outcome is Outcome.LATE_PRESENTMENT
    answer = told(alliance)
    assert answer.constitution.late_presentment_days == 3
    assert (answer.constitution.notice_days, answer.constitution.lot_lifetime_months) == (5, 12)
    assert len(answer.amendments) == 1
    alliance.export(tmp_path)
    report = verify_export(tmp_path, alliance.log_key.verifier)
    assert report.outcomes["AmendConstitution", Outcome.ACCEPTED] == 1
