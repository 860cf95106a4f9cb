"""Messages, signatures and tokens as docs/protocol.md describes them, by hand: nothing of ours, no protobuf library."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRESENTMENT_TYPE = "application/vnd.clearing.presentment.v1+protobuf"
INSTRUCTION_TYPE = "application/vnd.clearing.instruction.v1+protobuf"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


# ---- protobuf's wire format ----


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have the highest bit set."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def zigzag(number: int) -> int:
    """A number that may be negative, as a ``sint32`` has it: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return number * 2 if number >= 0 else -number * 2 - 1


def present_number(field: int, number: int) -> bytes:
    """A number that is written even if it is zero: an ``optional`` field that is set."""
    return varint(field << 3) + varint(number)


def number(field: int, value: int) -> bytes:
    """A number, left out if it is zero."""
    return present_number(field, value) if value else b""


def present_bytes(field: int, value: bytes) -> bytes:
    """Bytes that are written even if there are none: a message, or one of several."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def data(field: int, value: bytes | str) -> bytes:
    """Bytes or text, left out if empty."""
    content = value.encode() if isinstance(value, str) else value
    return present_bytes(field, content) if content else b""


def timestamp(field: int, microseconds: int) -> bytes:
    """A ``google.protobuf.Timestamp`` of microseconds since 1970."""
    return present_bytes(field, number(1, microseconds // 1_000_000) + number(2, microseconds % 1_000_000 * 1_000))


# ---- keys, envelopes, tokens ----


@dataclass(frozen=True, slots=True)
class Key:
    """An Ed25519 key by its seed of 32 bytes."""

    seed: bytes

    @property
    def public_key(self) -> bytes:
        return self._private_key.public_key().public_bytes_raw()

    @property
    def keyid(self) -> str:
        return sha256(self.public_key).hexdigest()[:32]

    def sign(self, message: bytes) -> bytes:
        return self._private_key.sign(message)

    @property
    def _private_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding; both lengths count bytes and are decimal."""
    return f"DSSEv1 {len(payload_type.encode())} {payload_type} {len(payload)} ".encode() + payload


def envelope(payload_type: str, payload: bytes, keys: list[Key]) -> bytes:
    """An Envelope signed by these keys."""
    signatures = [data(1, key.sign(signed_bytes(payload_type, payload))) + data(2, key.keyid) for key in keys]
    return data(1, payload) + data(2, payload_type) + b"".join(present_bytes(3, each) for each in signatures)


def content_digest(canonical: bytes) -> bytes:
    """What tells the same content from other content."""
    return sha256(canonical).digest()[:16]


def card_token(bits: bytes) -> str:
    """The token of 16 bytes: one big-endian number in 26 digits of base 32."""
    number = int.from_bytes(bits, "big")
    digits = []
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits.append(CROCKFORD[digit])
    return "card_" + "".join(reversed(digits))


def base64url(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def token(key: Key, header: dict[str, str], claims: dict[str, str | int]) -> str:
    """A JSON Web Token of these parts, in the order given."""
    parts = [base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    signing_input = ".".join(parts)
    return f"{signing_input}.{base64url(key.sign(signing_input.encode()))}"
