"""Amendments and adopted versions over real gRPC and PostgreSQL, through a restart, and in the audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from clearing.audit.replay import ReplayDifference
from clearing.contract.entry import decode_entry, timestamp_of
from clearing.errors import ErrorReason, Rejection
from clearing.model import MICROSECONDS_PER_DAY, Earn, EntryIndex, Instant, Outcome, Points, Presentment
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger
from clearing.rules.presentment import AlreadyDecided, PresentmentDecision
from clearing.rules.versions import RULES, rules_at
from clearing.v1 import instruction_pb2, operations_pb2, presentment_pb2
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


def adopted(alliance: Alliance, window: str, rules: int, settlement: int) -> Outcome:
    action = instruction_pb2.AdoptRules(window=window, rules_version=rules, settlement_version=settlement)
    return outcome_of(alliance, adopt_rules=action)


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


def doubled(
    directory: Directory, ledger: Ledger, presentment: Presentment, accepted_at: Instant, index: EntryIndex
) -> PresentmentDecision | AlreadyDecided:
    """A version of the rules for this test: every earn counts twice."""
    transactions = tuple(
        each._replace(kind=Earn(Points(2 * each.kind.points), None)) if isinstance(each.kind, Earn) else each
        for each in presentment.transactions
    )
    return RULES[1].decide_presentment(
        directory, ledger, presentment._replace(transactions=transactions), accepted_at, index
    )


@pytest.fixture
def second_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this program know a version 2 of the rules."""
    monkeypatch.setitem(RULES, 2, replace(RULES[1], decide_presentment=doubled))


@pytest.mark.usefixtures("second_rules")
def test_each_window_is_decided_by_its_version_through_a_restart_and_in_the_replay(
    alliance: Alliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = alliance.open_card("bakery")
    assert adopted(alliance, "2026-01", 2, 1) is Outcome.ADOPTION_TOO_SOON
    assert adopted(alliance, "2026-02", 2, 1) is Outcome.ACCEPTED
    assert [each.adoption.rules_version for each in told(alliance).adoptions] == [2]
    assert told(alliance).constitution.rules_version == 1
    alliance.travel("2026-01-31 23:59:58")
    last_of_january = alliance.envelope(
        alliance.presentment("bakery", alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=10)))
    )
    (first_receipt,) = alliance.submit(last_of_january)
    alliance.travel("2026-02-01 00:00:00")
    assert alliance.earn("bakery", card, 10).points == 20
    alliance.close()
    alliance.open()
    assert told(alliance).constitution.rules_version == 2
    assert alliance.earn("bakery", card, 10).points == 20
    assert adopted(alliance, "2026-04", 1, 1) is Outcome.VERSION_GOES_BACK

    # A till that lost the answer hears what was decided then.
    (second_receipt,) = alliance.submit(last_of_january)
    assert (second_receipt.entry, second_receipt.replayed) == (first_receipt.entry, True)
    assert [each.points for each in decode_entry(first_receipt.entry).transaction_results] == [10]

    alliance.export(tmp_path)
    assert verify_export(tmp_path, alliance.log_key.verifier).points_outstanding == 50
    alliance.close()
    monkeypatch.delitem(RULES, 2)
    with pytest.raises(ReplayDifference, match="version 2 of the rules is asked for, and this program has 1"):
        verify_export(tmp_path, alliance.log_key.verifier)
    with pytest.raises(Rejection, match="version 2 of the rules") as raised:
        alliance.open()
    assert raised.value.reason is ErrorReason.UNKNOWN_VERSION
    monkeypatch.setitem(RULES, 2, RULES[1])
    alliance.open()


def test_versions_that_the_gateway_does_not_have_are_refused_by_name_and_never_logged(alliance: Alliance) -> None:
    with untouched(alliance.engine):
        for versions in ((2, 1), (1, 2)):
            heard = refusal(lambda versions=versions: adopted(alliance, "2026-02", *versions))  # type: ignore[misc]
            assert heard.reason == "UNKNOWN_VERSION"
    directory = alliance.gateway.writer.directory
    assert directory is not None
    assert rules_at(directory, alliance.now) is RULES[1]
