"""The identifier of a key, as it stands in signatures, in the register of keys and in the log."""

from __future__ import annotations

import hashlib

from clearing.model import KeyId


def key_id_of(public_key: bytes) -> KeyId:
    """The keyid of a public key of 32 bytes: the first 16 bytes of its SHA-256, in hexadecimal."""
    return KeyId(hashlib.sha256(public_key).digest()[:16].hex())
