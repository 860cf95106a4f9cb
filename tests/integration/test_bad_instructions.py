"""Bad instructions over gRPC: who may not sign, what cannot be read, what cannot be carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc

from back_office.host.assembly import Gateway
from clearing.card_token import random_token
from clearing.clock import system_time
from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.contract.entry import timestamp_of
from clearing.log.note import Signer
from clearing.model import EntryIndex, Instant, Outcome
from clearing.postgres.database import open_engine
from clearing.postgres.migration import migrate
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, merchant_gateway_pb2, operations_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2_grpc import MerchantGatewayStub
from clearing.v1.operations_pb2_grpc import OperationsStub
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, ORIGIN, founded
from tests.integration.bad_scene import (
    DENIED,
    INVALID,
    MINUTE,
    NOT_FOUND,
    UNAUTHENTICATED,
    EnvelopeOf,
    Says,
    Scene,
    Table,
    each_case,
    with_signature,
)
from tests.integration.observation import Refusal, log_size, refusal, untouched
from tests.zones import offsets_of

ADMIT = instruction_pb2.AdmitMerchant(merchant="florist", legal_name="Florist")


def registration(key: PrivateKey) -> instruction_pb2.RegisterKey:
    return instruction_pb2.RegisterKey(public_key=key.public_key, role=instruction_pb2.ROLE_AUDITOR, holder="auditor-1")


def of_a_till(key: PrivateKey, merchant: str = "cinema") -> instruction_pb2.RegisterKey:
    return instruction_pb2.RegisterKey(
        public_key=key.public_key, role=instruction_pb2.ROLE_MERCHANT, merchant=merchant, holder="till-2"
    )


def admitted(**fields: str) -> dict[str, Any]:
    return {"admit_merchant": instruction_pb2.AdmitMerchant(**({"merchant": "florist", "legal_name": "F"} | fields))}


def priced(**fields: str) -> dict[str, Any]:
    good = {"effective_from": "2026-02-01", "issuance_price": "1", "redemption_price": "1"}
    return {"set_terms": instruction_pb2.SetTerms(**(good | fields))}


def raw(scene: Scene, payload: bytes) -> Envelope:
    return sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [scene.operator])


def of_another_origin(scene: Scene) -> Envelope:
    message = instruction_pb2.Instruction(
        origin="other.example",
        issued_at=timestamp_of(scene.alliance.now),
        expires_at=timestamp_of(Instant(scene.alliance.now + MINUTE)),
        reference="i",
        admit_merchant=ADMIT,
    )
    return raw(scene, message.SerializeToString())


def disordered_offsets() -> instruction_pb2.ZoneOffsets:
    offsets = instruction_contract.encode_offsets(offsets_of("Europe/Berlin"))
    offsets.changes[1].at.seconds = offsets.changes[0].at.seconds
    return offsets


def founding(scene: Scene, **fields: Any) -> Envelope:
    operator_key = instruction_pb2.RegisterKey(
        public_key=scene.operator.public_key, role=instruction_pb2.ROLE_OPERATOR, holder="operator-1"
    )
    good: dict[str, Any] = {
        "unit": "PTS",
        "currency": "EUR",
        "currency_decimals": 2,
        "time_zone": "Europe/Berlin",
        "zone_offsets": instruction_contract.encode_offsets(offsets_of("Europe/Berlin")),
        "settlement_method": instruction_pb2.SETTLEMENT_METHOD_POOL,
        "clock": instruction_pb2.CLOCK_SYSTEM,
        "log_verifier": scene.alliance.log_key.vkey,
        "operator_keys": [operator_key],
        "lot_lifetime_months": 12,
        "late_presentment_days": 7,
        "issuance_price": "0.01",
        "redemption_price": "0.01",
        "rules_version": 1,
        "settlement_version": 1,
    }
    return scene.instructed(create_alliance=instruction_pb2.CreateAlliance(**(good | fields)))


INSTRUCTIONS: Table[EnvelopeOf] = {
    Says(DENIED, "ROLE_NOT_ALLOWED"): {
        "merchant's key": lambda s: s.instructed(s.bakery, admit_merchant=ADMIT),
        "finance's key": lambda s: s.instructed(s.finance, admit_merchant=ADMIT),
        "merchant's beside the operator's": lambda s: s.instructed(s.operator, s.bakery, admit_merchant=ADMIT),
        "registration by a merchant": lambda s: s.instructed(
            s.bakery, s.stranger, register_key=registration(s.stranger)
        ),
        "an office's for the alliance": lambda s: s.instructed(s.office, admit_merchant=ADMIT),
        "an office's for itself": lambda s: s.instructed(s.office, admit_merchant=ADMIT, merchant="cinema"),
        "registration by a till": lambda s: s.instructed(
            s.cinema, s.stranger, register_key=of_a_till(s.stranger), merchant="cinema"
        ),
        "an operator's for a merchant": lambda s: s.instructed(
            s.operator, s.stranger, register_key=of_a_till(s.stranger), merchant="cinema"
        ),
        "the desk's": lambda s: s.instructed(s.service, admit_merchant=ADMIT),
    },
    Says(DENIED, "MERCHANT_MISMATCH", "merchant"): {
        "another's till": lambda s: s.instructed(
            s.office, s.stranger, register_key=of_a_till(s.stranger, "bakery"), merchant="cinema"
        ),
        "another's office": lambda s: s.instructed(
            s.office, s.stranger, register_key=of_a_till(s.stranger, "bakery"), merchant="bakery"
        ),
        "an operator's key": lambda s: s.instructed(
            s.office, revoke_key=instruction_pb2.RevokeKey(keyid=s.operator.key_id), merchant="cinema"
        ),
    },
    Says(DENIED, "OFFICE_MUST_SIGN"): {
        "the operator alone": lambda s: s.instructed(s.operator, s.stranger, register_key=of_a_till(s.stranger)),
    },
    Says(INVALID, "INVALID_FIELD", "merchant"): {
        "capitals": lambda s: s.instructed(s.office, admit_merchant=ADMIT, merchant="Cinema"),
        "the pool": lambda s: s.instructed(s.office, admit_merchant=ADMIT, merchant="pool"),
    },
    Says(INVALID, "INVALID_FIELD", "register_key.merchant"): {
        "an office of nobody": lambda s: s.instructed(
            s.operator,
            register_key=instruction_pb2.RegisterKey(
                public_key=s.stranger.public_key, role=instruction_pb2.ROLE_MERCHANT_OFFICE, holder="x"
            ),
        ),
        "a merchant's desk": lambda s: s.instructed(
            s.operator,
            register_key=instruction_pb2.RegisterKey(
                public_key=s.stranger.public_key, role=instruction_pb2.ROLE_SERVICE, merchant="cinema", holder="x"
            ),
        ),
    },
    Says(UNAUTHENTICATED, "UNKNOWN_KEY", "signatures"): {
        "alone": lambda s: s.instructed(s.stranger, admit_merchant=ADMIT),
        "beside the operator's": lambda s: s.instructed(s.operator, s.stranger, admit_merchant=ADMIT),
        "registers itself": lambda s: s.instructed(s.stranger, register_key=registration(s.stranger)),
    },
    Says(UNAUTHENTICATED, "BAD_SIGNATURE", "signatures"): {
        "altered": lambda s: with_signature(s.instructed(admit_merchant=ADMIT), bytes(64)),
    },
    Says(DENIED, "MISSING_PROOF_OF_POSSESSION", "signatures"): {
        "operator alone": lambda s: s.instructed(register_key=registration(s.stranger)),
    },
    Says(INVALID, "PAYLOAD_TYPE_MISMATCH", "payload_type"): {
        "presentment": lambda s: s.of(s.earn()),
        "no envelope": lambda s: Envelope(),
    },
    Says(INVALID, "MALFORMED_PAYLOAD"): {
        "truncated": lambda s: raw(s, s.alliance.instruction(admit_merchant=ADMIT)[:-3]),
        "random": lambda s: raw(s, b"\xff" * 64),
    },
    Says(DENIED, "WRONG_ORIGIN", "origin"): {"another alliance": of_another_origin},
    Says(INVALID, "CLOCK_SKEW", "issued_at"): {
        "in the future": lambda s: s.instructed(issued_at=Instant(system_time() + 6 * MINUTE), admit_merchant=ADMIT),
    },
    Says(INVALID, "INVALID_FIELD", "action"): {"none": lambda s: s.instructed()},
    Says(INVALID, "INVALID_FIELD", "admit_merchant.merchant"): {
        "the pool": lambda s: s.instructed(**admitted(merchant="pool")),
        "capitals": lambda s: s.instructed(**admitted(merchant="Florist")),
    },
    Says(INVALID, "INVALID_FIELD", "admit_merchant.legal_name"): {
        "none": lambda s: s.instructed(**admitted(legal_name="")),
        "control character": lambda s: s.instructed(**admitted(legal_name="Flo\0rist")),
    },
    Says(INVALID, "INVALID_FIELD", "close_window.window"): {
        "no such month": lambda s: s.instructed(close_window=instruction_pb2.CloseWindow(window="2026-13")),
    },
    Says(INVALID, "INVALID_FIELD", "set_terms.effective_from"): {
        "no such day": lambda s: s.instructed(**priced(effective_from="2026-02-30")),
    },
    Says(INVALID, "INVALID_FIELD", "set_terms.issuance_price"): {
        "negative": lambda s: s.instructed(**priced(issuance_price="-1")),
        "scientific": lambda s: s.instructed(**priced(issuance_price="1e-2")),
        "above a million": lambda s: s.instructed(**priced(issuance_price="1000000.00000001")),
    },
    Says(INVALID, "INVALID_FIELD", "create_alliance.log_verifier"): {
        "endless": lambda s: founding(s, log_verifier="x" * 40_000),
    },
    Says(INVALID, "INVALID_FIELD", "create_alliance.time_zone"): {
        "the machine's own": lambda s: founding(s, time_zone="localtime"),
    },
    Says(INVALID, "INVALID_FIELD", "create_alliance.zone_offsets.known_until"): {
        "no offsets": lambda s: founding(s, zone_offsets=None),
    },
    Says(INVALID, "INVALID_FIELD", "create_alliance.zone_offsets.changes[1].at"): {
        "offsets in disorder": lambda s: founding(s, zone_offsets=disordered_offsets()),
    },
}


@each_case(INSTRUCTIONS)
def test_a_bad_instruction_is_named_and_leaves_the_ledger_untouched(
    scene: Scene, says: Says, build: EnvelopeOf
) -> None:
    with untouched(scene.alliance.engine):
        heard = scene.instruct(build(scene))
    assert heard == Refusal(says.code, says.reason, "clearing", says.field, "", False)


def test_an_instruction_that_cannot_be_carried_out_is_logged_and_changes_nothing(scene: Scene) -> None:
    alliance = scene.alliance
    bakery = instruction_pb2.AdmitMerchant(merchant="bakery", legal_name="Bakery")
    outcomes: dict[Outcome, dict[str, Any]] = {
        Outcome.UNKNOWN_MERCHANT: {"open_store": instruction_pb2.OpenStore(merchant="florist", store="florist-1")},
        Outcome.MERCHANT_EXISTS: {"admit_merchant": bakery},
        Outcome.STORE_EXISTS: {"open_store": instruction_pb2.OpenStore(merchant="bakery", store="cinema-1")},
        Outcome.KEY_NOT_REGISTERED: {"revoke_key": instruction_pb2.RevokeKey(keyid="0" * 32)},
        Outcome.WINDOW_OUT_OF_ORDER: {"close_window": instruction_pb2.CloseWindow(window="2025-12")},
        Outcome.UNKNOWN_CARD: {"expire_lots": instruction_pb2.ExpireLots(card_tokens=[random_token()])},
    }
    directory = alliance.gateway.writer.directory
    with untouched(alliance.engine, entries_more=len(outcomes)):
        for outcome, action in outcomes.items():
            result = alliance.instruct(**action).instruction_result
            assert result is not None
            assert result.outcome is outcome
    assert directory is not None
    afterwards = replace(directory, last_instruction=EntryIndex(log_size(alliance.engine) - 1))
    assert alliance.gateway.writer.directory == afterwards


def test_a_second_founding_is_refused_and_logged(scene: Scene) -> None:
    request = operations_pb2.InstructRequest(envelope=founding(scene))
    with untouched(scene.alliance.engine, entries_more=1):
        receipt = scene.alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS).receipt
    result = scene.alliance.verified(receipt).instruction_result
    assert result is not None
    assert result.outcome is Outcome.ALLIANCE_EXISTS


def test_four_eyes_take_the_signatures_of_two_people(database_url: str) -> None:
    with founded(database_url, four_eyes=True) as alliance:
        second_key = PrivateKey.generate()
        both = [alliance.operator, alliance.second_operator]
        of_the_first = instruction_pb2.RegisterKey(
            public_key=second_key.public_key, role=instruction_pb2.ROLE_OPERATOR, holder="operator-1"
        )
        alliance.accept(signers=[*both, second_key], register_key=of_the_first)

        refused = Refusal(DENIED, "SECOND_SIGNATURE_REQUIRED", "clearing", "", "", False)
        with untouched(alliance.engine):
            assert refusal(lambda: alliance.instruct(admit_merchant=ADMIT)) == refused
            one_person = [alliance.operator, second_key]
            assert refusal(lambda: alliance.instruct(signers=one_person, admit_merchant=ADMIT)) == refused
        alliance.accept(signers=both, admit_merchant=ADMIT)


def test_before_the_founding_nothing_but_a_founding_is_taken(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate(engine)
    key = PrivateKey.generate()
    presentment = presentment_pb2.Presentment(origin=ORIGIN, merchant="bakery")
    presented = sign_envelope(presentment.SerializeToString(), presentment_contract.PAYLOAD_TYPE, [key])
    now = system_time()
    instruction = instruction_pb2.Instruction(
        origin=ORIGIN,
        issued_at=timestamp_of(now),
        expires_at=timestamp_of(Instant(now + MINUTE)),
        reference="i",
        admit_merchant=ADMIT,
    )
    instructed = sign_envelope(instruction.SerializeToString(), instruction_contract.PAYLOAD_TYPE, [key])
    submit = merchant_gateway_pb2.SubmitRequest(envelopes=[presented])
    instruct = operations_pb2.InstructRequest(envelope=instructed)
    with (
        Gateway(engine, Signer(ORIGIN, key.seed), "127.0.0.1:0") as gateway,
        untouched(engine),
        grpc.insecure_channel(gateway.server.address) as channel,
    ):
        heard = refusal(lambda: MerchantGatewayStub(channel).Submit(submit, timeout=CALL_TIMEOUT_SECONDS))
        assert heard == Refusal(NOT_FOUND, "NOT_FOUND", "clearing", "", "0", False)
        heard = refusal(lambda: OperationsStub(channel).Instruct(instruct, timeout=CALL_TIMEOUT_SECONDS))
        assert heard == Refusal(UNAUTHENTICATED, "UNKNOWN_KEY", "clearing", "", "", False)
    engine.dispose()
