"""A second version of the rules and of the settlement: adopted, decided and settled by, replayed and audited.

The program has no second version yet. This test gives it one of each: rules by which every earn counts twice, and a
settlement whose statements say that they are of form 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clearing.audit.replay_difference import ReplayDifference
from clearing.contract.entry import decode_entry
from clearing.errors import ErrorReason, Rejection
from clearing.model import Earn, EntryIndex, Instant, Outcome, Points, Presentment
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger
from clearing.rules.presentment import PresentmentDecision
from clearing.rules.versions import RULES, SETTLEMENT_VERSIONS, rules_at
from clearing.v1 import instruction_pb2, operations_pb2, presentment_pb2, settlement_pb2
from settlement.auditing.audit import verify_export
from settlement.v1.report_json import statement_digest
from settlement.v1.statements import MerchantStatement, Settlement
from settlement.versions import SETTLEMENTS
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import refusal, untouched


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(database_url) as alliance:
        alliance.admit("bakery", "cinema")
        yield alliance


def adopted(alliance: Alliance, window: str, rules: int, settlement: int) -> Outcome:
    action = instruction_pb2.AdoptRules(window=window, rules_version=rules, settlement_version=settlement)
    both = [alliance.operator, alliance.second_operator]
    result = alliance.instruct(signers=both, adopt_rules=action).instruction_result
    assert result is not None
    return result.outcome


def told(alliance: Alliance) -> operations_pb2.GetAllianceResponse:
    return alliance.operations.GetAlliance(operations_pb2.GetAllianceRequest())


def settle(alliance: Alliance, window: str) -> None:
    """Close the window, and settle it as the gateway says."""
    alliance.accept(close_window=instruction_pb2.CloseWindow(window=window))
    request = settlement_pb2.GetSettlementRequest(window=window)
    metadata = alliance.authorization(alliance.operator)
    proposal = alliance.settlement.GetSettlement(request, metadata=metadata).proposal
    alliance.accept(propose_settlement=proposal)


# ---- the second versions ----


def doubled(
    directory: Directory, ledger: Ledger, presentment: Presentment, accepted_at: Instant, index: EntryIndex
) -> PresentmentDecision:
    transactions = tuple(
        each._replace(kind=Earn(Points(2 * each.kind.points), None)) if isinstance(each.kind, Earn) else each
        for each in presentment.transactions
    )
    twice = presentment._replace(transactions=transactions)
    return RULES[1].decide_presentment(directory, ledger, twice, accepted_at, index)


def _of_form_2(statement: bytes) -> bytes:
    content = json.loads(statement)
    assert content["settlement_version"] == 2
    return json.dumps(content | {"form": 2}).encode()


def merchant_json_2(statement: MerchantStatement) -> bytes:
    return _of_form_2(SETTLEMENTS[1].merchant_json(statement))


def alliance_json_2(settlement: Settlement) -> bytes:
    return _of_form_2(SETTLEMENTS[1].alliance_json(settlement))


def in_form_2(settlement: Settlement) -> Settlement:
    of_merchants = {each.merchant: statement_digest(merchant_json_2(each)) for each in settlement.merchants}
    settlement = replace(settlement, merchant_digests=of_merchants)
    return replace(settlement, alliance_digest=statement_digest(alliance_json_2(settlement)))


@pytest.fixture
def second_versions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this program know a version 2 of both."""
    monkeypatch.setitem(RULES, 2, replace(RULES[1], decide_presentment=doubled))
    second = replace(
        SETTLEMENTS[1],
        settle=lambda *flows: in_form_2(SETTLEMENTS[1].settle(*flows)),
        settle_upon=lambda *flows: in_form_2(SETTLEMENTS[1].settle_upon(*flows)),
        alliance_json=alliance_json_2,
        merchant_json=merchant_json_2,
    )
    monkeypatch.setitem(SETTLEMENTS, 2, second)
    SETTLEMENT_VERSIONS.add(2)
    yield
    SETTLEMENT_VERSIONS.discard(2)


@pytest.mark.usefixtures("second_versions")
def test_each_month_is_decided_and_settled_by_its_versions_through_a_restart_and_in_the_audit(
    alliance: Alliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = alliance.open_card("bakery")
    assert adopted(alliance, "2026-01", 2, 2) is Outcome.ADOPTION_TOO_SOON
    assert adopted(alliance, "2026-02", 2, 2) is Outcome.ACCEPTED
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
    answer = told(alliance).constitution
    assert (answer.rules_version, answer.settlement_version) == (2, 2)
    assert alliance.earn("bakery", card, 10).points == 20
    assert adopted(alliance, "2026-04", 1, 2) is Outcome.VERSION_GOES_BACK

    # A till that lost the answer hears what was decided then.
    (second_receipt,) = alliance.submit(last_of_january)
    assert (second_receipt.entry, second_receipt.replayed) == (first_receipt.entry, True)
    assert [each.points for each in decode_entry(first_receipt.entry).transaction_results] == [10]

    # January settles by version 1, though it is closed in February; March has no entries.
    alliance.burn("cinema", card, 25)
    settle(alliance, "2026-01")
    alliance.travel("2026-04-01 10:00:00")
    settle(alliance, "2026-02")
    settle(alliance, "2026-03")
    statements = [alliance.statement(window) for window in ("2026-01", "2026-02", "2026-03")]
    assert [each["settlement_version"] for each in statements] == [1, 2, 2]
    assert ["form" in each for each in statements] == [False, True, True]
    assert alliance.statement("2026-02", "bakery")["form"] == 2

    alliance.export(tmp_path)
    report = verify_export(tmp_path, alliance.log_key.verifier)
    assert (report.points_outstanding, report.windows_proposed) == (25, ("2026-01", "2026-02", "2026-03"))

    # Other programs: one whose version 2 is another, and ones that have none.
    monkeypatch.setitem(SETTLEMENTS, 2, SETTLEMENTS[1])
    with pytest.raises(ReplayDifference, match=r"the log says .*ACCEPTED.*SETTLEMENT_DIFFERS"):
        verify_export(tmp_path, alliance.log_key.verifier)
    monkeypatch.delitem(SETTLEMENTS, 2)
    with pytest.raises(ReplayDifference, match="what 2026-02 settles to cannot be computed: version 2"):
        verify_export(tmp_path, alliance.log_key.verifier)
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
        for rules, settlement in ((2, 1), (1, 2)):
            action = instruction_pb2.AdoptRules(window="2026-02", rules_version=rules, settlement_version=settlement)
            both = [alliance.operator, alliance.second_operator]
            assert refusal(lambda: alliance.instruct(signers=both, adopt_rules=action)).reason == "UNKNOWN_VERSION"  # noqa: B023
    directory = alliance.gateway.writer.directory
    assert directory is not None
    assert rules_at(directory, alliance.now) is RULES[1]


def test_clearing_knows_the_numbers_of_the_settlements_versions() -> None:
    assert set(SETTLEMENTS) == SETTLEMENT_VERSIONS
