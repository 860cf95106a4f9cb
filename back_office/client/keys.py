"""Keys: registering one, revoking one, and listing them."""

from __future__ import annotations

from dataclasses import dataclass

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Unsigned
from clearing.contract.entry import instant_of, timestamp_of
from clearing.key_id import key_id_of
from clearing.model import Instant, Role
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import Instruction, RegisterKey, RevokeKey
from clearing.v1.operations_pb2 import ListKeysRequest


@dataclass(frozen=True, slots=True)
class Registration:
    """A key that is to be valid: whose it is and what it may do."""

    public_key: bytes
    """32 bytes (Ed25519, RFC 8032)."""
    role: Role
    holder: str
    """The person or system that holds it."""
    merchant: str | None = None
    """Whose it is, for a merchant's roles."""
    valid_from: Instant | None = None
    """None: from its entry on."""
    valid_until: Instant | None = None
    """None: until it is revoked."""


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A key as the ledger has it."""

    key_id: str
    role: Role
    merchant: str
    """Empty where it is nobody's of a merchant."""
    holder: str
    valid_from: Instant
    valid_until: Instant | None
    revoked_at: Instant | None
    compromised_since: Instant | None
    """Since when somebody else may have had it."""


def registering(registration: Registration, new_key: PrivateKey | None = None) -> Unsigned:
    """Make a key valid. ``new_key`` signs too, which proves that its holder has it; without it they sign the draft."""
    action = RegisterKey(
        public_key=registration.public_key,
        role=registration.role.value,  # type: ignore[arg-type]  # the stubs want the enum's own wrapper
        merchant=registration.merchant or "",
        holder=registration.holder,
    )
    if registration.valid_from is not None:
        action.valid_from.CopyFrom(timestamp_of(registration.valid_from))
    if registration.valid_until is not None:
        action.valid_until.CopyFrom(timestamp_of(registration.valid_until))
    parts = ("register", key_id_of(registration.public_key))
    return Unsigned(Instruction(register_key=action), parts, also_signs=(new_key,) if new_key is not None else ())


def revoking(key_id: str, effective_at: Instant | None = None, compromised_since: Instant | None = None) -> Unsigned:
    """End a key's validity, at once unless ``effective_at`` says when. What it signed before stays."""
    action = RevokeKey(keyid=key_id)
    if effective_at is not None:
        action.effective_at.CopyFrom(timestamp_of(effective_at))
    if compromised_since is not None:
        action.compromised_since.CopyFrom(timestamp_of(compromised_since))
    return Unsigned(Instruction(revoke_key=action), ("revoke", key_id))


def list_keys(connection: GatewayConnection, key: PrivateKey, merchant: str | None = None) -> list[RegisteredKey]:
    """The registered keys, or those of one merchant. Raises ``GatewayError``."""
    request = ListKeysRequest(merchant=merchant or "")
    listed = []
    for each in connection.call(connection.operations.ListKeys, request, key).keys:
        registration = each.registration
        until = instant_of(registration.valid_until) if registration.HasField("valid_until") else None
        listed.append(
            RegisteredKey(
                each.keyid,
                Role(registration.role),
                registration.merchant,
                registration.holder,
                instant_of(registration.valid_from),
                until,
                instant_of(each.revoked_at) if each.HasField("revoked_at") else None,
                instant_of(each.compromised_since) if each.HasField("compromised_since") else None,
            )
        )
    return listed
