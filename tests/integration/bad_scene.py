"""What bad messages are made of: an alliance with good keys and bad ones, and the tables' forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import pytest
from grpc import StatusCode

from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.contract.entry import timestamp_of
from clearing.model import CardToken, Instant
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, merchant_gateway_pb2, operations_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope, Signature
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance, local_instant
from tests.integration.observation import Refusal, refusal

INVALID = StatusCode.INVALID_ARGUMENT
UNAUTHENTICATED = StatusCode.UNAUTHENTICATED
DENIED = StatusCode.PERMISSION_DENIED
NOT_FOUND = StatusCode.NOT_FOUND

MINUTE = 60_000_000
UNKNOWN_FIELD = b"\xfa\x07\x01x"
"""Field 127 of any message, one byte long."""


class Says(NamedTuple):
    """What a refusal says: code, reason, and the field at fault."""

    code: StatusCode
    reason: str
    field: str = ""


BuildT = TypeVar("BuildT")
Table = Mapping[Says, Mapping[str, BuildT]]
"""For each refusal the cases that hear it, by name."""


def each_case(table: Table[BuildT]) -> pytest.MarkDecorator:
    """A test for each case of a table, with the arguments ``says`` and ``build``."""
    cases = [
        pytest.param(says, build, id=f"{says.reason}-{name}")
        for says, builds in table.items()
        for name, build in builds.items()
    ]
    return pytest.mark.parametrize(("says", "build"), cases)


@dataclass(frozen=True, slots=True)
class Scene:
    """An alliance with good keys and bad ones, and a card of the bakery with 100 points."""

    alliance: Alliance
    card: CardToken
    expired: PrivateKey
    not_yet_valid: PrivateKey
    revoked: PrivateKey
    finance: PrivateKey
    stranger: PrivateKey
    office: PrivateKey
    """Of the cinema."""
    service: PrivateKey
    """Of the cardholders' desk."""

    @property
    def bakery(self) -> PrivateKey:
        """The bakery's good key."""
        return self.alliance.keys["bakery"]

    @property
    def cinema(self) -> PrivateKey:
        """The cinema's."""
        return self.alliance.keys["cinema"]

    @property
    def operator(self) -> PrivateKey:
        """The operator's."""
        return self.alliance.operator

    # ---- transactions of the bakery ----

    def odd(self, **fields: Any) -> presentment_pb2.Transaction:
        """With these fields instead of good ones."""
        return self.alliance.transaction("bakery", fields.pop("card_token", self.card), **fields)

    def earn(self, points: int = 10, **fields: Any) -> presentment_pb2.Transaction:
        """A good earn, but for these fields."""
        return self.odd(earn=presentment_pb2.Earn(points=points), **fields)

    # ---- envelopes ----

    def presented(self, *transactions: presentment_pb2.Transaction, merchant: str = "bakery", **fields: Any) -> bytes:
        """The payload of a presentment."""
        return self.alliance.presentment(merchant, *transactions, **fields).SerializeToString()

    def signed(self, payload: bytes, *signers: PrivateKey) -> Envelope:
        """Any bytes as a presentment, by the bakery's key unless others are given."""
        return sign_envelope(payload, presentment_contract.PAYLOAD_TYPE, signers or [self.bakery])

    def earn_by(self, *signers: PrivateKey) -> Envelope:
        """A good presentment of the bakery, signed by these keys."""
        return self.signed(self.presented(self.earn()), *signers)

    def of(self, *transactions: presentment_pb2.Transaction, **fields: Any) -> Envelope:
        """A presentment signed by the bakery."""
        return self.signed(self.presented(*transactions, **fields))

    def instructed(self, *signers: PrivateKey, issued_at: Instant | None = None, **action: Any) -> Envelope:
        """An instruction, by the operator's key unless others are given."""
        payload = self.alliance.instruction(issued_at=issued_at, **action)
        return sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, signers or [self.operator])

    # ---- calls ----

    def submit(self, *envelopes: Envelope) -> Refusal:
        """How this call, which must fail, fails."""
        request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes)
        return refusal(lambda: self.alliance.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS))

    def instruct(self, envelope: Envelope) -> Refusal:
        """How this instruction, which must fail, fails."""
        request = operations_pb2.InstructRequest(envelope=envelope)
        return refusal(lambda: self.alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS))


def set_scene(alliance: Alliance) -> Scene:
    """Register the bad keys, and give the card its points."""
    scene = Scene(alliance, alliance.open_card("bakery"), *(PrivateKey.generate() for _ in range(7)))
    tills: dict[str, Any] = {"role": "ROLE_MERCHANT", "merchant": "bakery", "holder": "bakery-till"}
    alliance.register(scene.expired, valid_until=timestamp_of(Instant(alliance.now + MINUTE)), **tills)
    alliance.register(scene.not_yet_valid, valid_from=timestamp_of(local_instant("2099-01-01")), **tills)
    alliance.register(scene.revoked, **tills)
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=scene.revoked.key_id))
    alliance.register(scene.finance, "ROLE_FINANCE", holder="finance-1")
    alliance.register(scene.office, "ROLE_MERCHANT_OFFICE", merchant="cinema", holder="cinema-office")
    alliance.register(scene.service, "ROLE_SERVICE", holder="desk-1")
    alliance.travel("2026-01-20 12:00:00")
    alliance.earn("bakery", scene.card, 100)
    return scene


def with_signature(envelope: Envelope, sig: bytes, keyid: str | None = None) -> Envelope:
    """The envelope with this signature in place of its first."""
    signature = Signature(sig=sig, keyid=keyid or envelope.signatures[0].keyid)
    return Envelope(payload=envelope.payload, payload_type=envelope.payload_type, signatures=[signature])


def with_payload(envelope: Envelope, payload: bytes) -> Envelope:
    """The envelope with another payload below the signatures it had."""
    return Envelope(payload=payload, payload_type=envelope.payload_type, signatures=envelope.signatures)


EnvelopeOf = Callable[[Scene], Envelope]
CallOf = Callable[[Scene], object]
