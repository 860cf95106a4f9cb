"""Card tokens: ``card_`` and 128 bits in Crockford base32, so that no phone, name or printed number stands for a
card."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from clearing.model import CardToken

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTERS = 26
_BITS_PER_CHARACTER = 5


def token_of_bytes(random_bits: bytes) -> CardToken:
    """The token of 16 random bytes, most significant bits first."""
    if len(random_bits) != 16:
        raise ValueError("a card token holds 128 bits")
    number = int.from_bytes(random_bits)
    shifts = range((_CHARACTERS - 1) * _BITS_PER_CHARACTER, -1, -_BITS_PER_CHARACTER)
    return CardToken("card_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in shifts))


def random_token() -> CardToken:
    """A token for a new card, from the operating system's randomness."""
    return token_of_bytes(secrets.token_bytes(16))


def derived_token(secret: bytes, customer: str) -> CardToken:
    """The token of a merchant system's own customer number: HMAC-SHA-256 (RFC 2104) under a secret that stays with it.

    The same secret and number give the same token, and without the secret nobody can tell one from random.
    """
    return token_of_bytes(hmac.digest(secret, customer.encode(), hashlib.sha256)[:16])
