"""The two trees of a settlement (RFC 6962, SHA-256), whose roots stand in its proposal: statements and payments.

Whoever is shown a leaf and its path can check it against the logged proposal, and learns of the other leaves only their
hashes. So that nobody can try out a neighbour's payment against such a hash, a payment's leaf holds a salt that follows
from a statement which only its owner and the alliance's finance have.
"""

from __future__ import annotations

from hashlib import sha256

AMOUNT_BYTES = 8
INDEX_BYTES = 8


def statement_leaf(merchant: str, statement_digest: bytes) -> bytes:
    """The leaf of a member's statement: the identifier, a zero byte, the SHA-256 of the statement's JSON form."""
    return merchant.encode() + b"\x00" + statement_digest


def payment_salt(statement_digest: bytes, index: int) -> bytes:
    """The salt of payment ``index``, from the statement of its payer, or of its payee where the pool pays."""
    return sha256(statement_digest + index.to_bytes(INDEX_BYTES, "big")).digest()


def payment_leaf(payer: str, payee: str, amount_minor: int, salt: bytes) -> bytes:
    """The leaf of a payment: payer, a zero byte, payee, a zero byte, the amount, the salt."""
    return payer.encode() + b"\x00" + payee.encode() + b"\x00" + amount_minor.to_bytes(AMOUNT_BYTES, "big") + salt
