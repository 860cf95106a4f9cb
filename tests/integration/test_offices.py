"""A member's office over real gRPC and PostgreSQL: its keys are its own business, and the audit agrees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearing.contract.entry import Entry
from clearing.model import Outcome
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, merchant_gateway_pb2, operations_pb2, settlement_pb2
from settlement.auditing.audit import verify_export
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import refusal


def registration(key: PrivateKey, merchant: str) -> instruction_pb2.RegisterKey:
    return instruction_pb2.RegisterKey(
        public_key=key.public_key, role=instruction_pb2.ROLE_MERCHANT, merchant=merchant, holder=f"{merchant}-till-2"
    )


def outcome_of(entry: Entry) -> Outcome:
    assert entry.instruction_result is not None
    return entry.instruction_result.outcome


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(database_url) as alliance:
        alliance.admit("bakery", "cinema")
        for merchant in ("bakery", "cinema"):
            key = alliance.keys[f"{merchant} office"] = PrivateKey.generate()
            alliance.register(key, "ROLE_MERCHANT_OFFICE", merchant=merchant, holder=f"{merchant}-office")
        yield alliance


def test_an_office_registers_and_revokes_its_members_keys_and_the_log_replays(
    alliance: Alliance, tmp_path: Path
) -> None:
    office, first_till, till = alliance.keys["bakery office"], alliance.keys["bakery"], PrivateKey.generate()
    register: dict[str, Any] = {
        "register_key": registration(till, "bakery"),
        "merchant": "bakery",
        "reference": "till-2",
        "signers": [office, till],
    }
    assert outcome_of(alliance.instruct(**register)) is Outcome.ACCEPTED
    alliance.keys["bakery"] = till
    card = alliance.open_card("bakery")

    # A gateway started again goes by what the database has kept of parties and references.
    alliance.close()
    alliance.open()
    size = alliance.log_size()
    assert outcome_of(alliance.instruct(**register)) is Outcome.ACCEPTED
    assert alliance.log_size() == size, "it was decided before"
    revoke: dict[str, Any] = {
        "revoke_key": instruction_pb2.RevokeKey(keyid=first_till.key_id),
        "reference": "till-2",
    }
    assert outcome_of(alliance.instruct(signers=[office], merchant="bakery", **revoke)) is Outcome.REFERENCE_REUSED
    lost = PrivateKey.generate()
    cinemas: dict[str, Any] = {
        "register_key": registration(lost, "cinema"),
        "merchant": "cinema",
        "signers": [alliance.keys["cinema office"], lost],
    }
    assert outcome_of(alliance.instruct(reference="till-2", **cinemas)) is Outcome.ACCEPTED
    assert outcome_of(alliance.instruct(**revoke)) is Outcome.ACCEPTED, "the alliance has references of its own"

    alliance.keys["bakery"] = first_till
    assert refusal(lambda: alliance.earn("bakery", card, 5)).reason == "KEY_REVOKED"
    alliance.keys["bakery"] = till
    assert alliance.earn("bakery", card, 5).outcome is Outcome.ACCEPTED
    alliance.export(tmp_path)
    report = verify_export(tmp_path, alliance.log_key.verifier)
    assert report.outcomes["RegisterKey", Outcome.ACCEPTED] == 6
    assert report.outcomes["RevokeKey", Outcome.REFERENCE_REUSED] == 1


def test_operators_help_a_member_out_only_once_its_offices_keys_are_revoked(alliance: Alliance) -> None:
    till = PrivateKey.generate()
    by_operator: dict[str, Any] = {
        "register_key": registration(till, "bakery"),
        "signers": [alliance.operator, till],
    }
    assert refusal(lambda: alliance.instruct(**by_operator)).reason == "OFFICE_MUST_SIGN"
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=alliance.keys["bakery office"].key_id))
    alliance.accept(**by_operator)


def test_an_office_presents_nothing_and_reads_what_is_its_merchants(alliance: Alliance) -> None:
    office, till = alliance.keys["bakery office"], alliance.keys["bakery"]
    card = alliance.open_card("bakery")
    alliance.keys["bakery"] = office
    assert refusal(lambda: alliance.earn("bakery", card, 5)).reason == "ROLE_NOT_ALLOWED"
    alliance.keys["bakery"] = till
    assert alliance.earn("bakery", card, 100).outcome is Outcome.ACCEPTED
    alliance.travel("2026-02-01 10:00:00")
    alliance.accept(close_window=instruction_pb2.CloseWindow(window="2026-01"))
    as_office = alliance.authorization(office)
    request = settlement_pb2.GetStatementRequest(window="2026-01")
    assert b'"bakery"' in alliance.settlement.GetStatement(request, metadata=as_office).content
    others = settlement_pb2.GetStatementRequest(window="2026-01", merchant="cinema")
    assert refusal(lambda: alliance.settlement.GetStatement(others, metadata=as_office)).reason == "NOT_FOUND"
    keys = alliance.operations.ListKeys(operations_pb2.ListKeysRequest(), metadata=as_office).keys
    assert {each.registration.merchant for each in keys} == {"bakery"}


def test_the_cardholders_desk_reads_any_card_and_its_transactions(alliance: Alliance) -> None:
    desk = PrivateKey.generate()
    alliance.register(desk, "ROLE_SERVICE", holder="desk-1")
    card = alliance.open_card("bakery")
    alliance.earn("bakery", card, 100, reference="earn-1")
    as_desk = alliance.authorization(desk)
    balance = alliance.merchants.GetCard(merchant_gateway_pb2.GetCardRequest(card_token=card), metadata=as_desk)
    assert balance.points_available == 100
    listing = merchant_gateway_pb2.ListTransactionsRequest(merchant="bakery")
    listed = alliance.merchants.ListTransactions(listing, metadata=as_desk).transactions
    assert [each.reference for each in listed][1:] == ["earn-1"]
    members = alliance.operations.ListMerchants(operations_pb2.ListMerchantsRequest(), metadata=as_desk).merchants
    assert [each.merchant for each in members] == ["bakery", "cinema"]


def test_an_operator_hears_again_what_was_registered_before_the_office_came(database_url: str) -> None:
    with founded(database_url) as alliance:
        alliance.admit("bakery")
        till, office = PrivateKey.generate(), PrivateKey.generate()
        register: dict[str, Any] = {
            "register_key": registration(till, "bakery"),
            "reference": "till-2",
            "signers": [alliance.operator, till],
        }
        first = alliance.instruct(**register)
        alliance.register(office, "ROLE_MERCHANT_OFFICE", merchant="bakery", holder="bakery-office")
        assert alliance.instruct(**register) == first
