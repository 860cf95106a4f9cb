"""Ed25519 keys (RFC 8032): identifiers, signing, verifying. Files: ``clearing.signing.key_files``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import nacl.bindings
import nacl.exceptions
import nacl.signing

from clearing.key_id import key_id_of
from clearing.model import KeyId

SIGNATURE_BYTES = 64

SignatureCheck = tuple[bytes, bytes, bytes]
"""Public key, signed bytes and signature."""


def signature_holds(public_key: bytes, signed: bytes, signature: bytes) -> bool:
    """Whether the signature is this key's over these bytes, by libsodium's strict check."""
    try:
        # The binding, not VerifyKey: a third less time on the busiest path of the gateway.
        nacl.bindings.crypto_sign_open(signature + signed, public_key)
    except (nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError):
        return False
    return True


def leading_that_hold(checks: Sequence[SignatureCheck]) -> int:
    """How many of the signatures hold, from the first on: it stops at one that does not."""
    for held, check in enumerate(checks):
        if not signature_holds(*check):
            return held
    return len(checks)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs. Neither its text nor its errors ever show the seed."""

    seed: bytes = field(repr=False)
    """The 32 bytes of RFC 8032's private key."""
    public_key: bytes = field(init=False)
    key_id: KeyId = field(init=False)
    _signing_key: nacl.signing.SigningKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the public half once."""
        signing_key = nacl.signing.SigningKey(self.seed)
        public_key = bytes(signing_key.verify_key)
        object.__setattr__(self, "_signing_key", signing_key)
        object.__setattr__(self, "public_key", public_key)
        object.__setattr__(self, "key_id", key_id_of(public_key))

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new key from the operating system's randomness."""
        return cls(bytes(nacl.signing.SigningKey.generate()))

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over ``message``."""
        return self._signing_key.sign(message).signature
