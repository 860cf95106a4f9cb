"""References: where each was decided, found by a digest that is unique for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from uuid import UUID

from clearing.model import EntryIndex, MerchantId, Reference
from clearing.store.bulk import PROBE_INDEXES, array_literal

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, named as one

OF_INSTRUCTIONS: Final = ""
"""In the place of the merchant in an instruction's reference; no merchant has this name."""

SignedReference = tuple[MerchantId | Literal[""], Reference]
"""A merchant's reference of a transaction, or an instruction's."""


class StoredReference(NamedTuple):
    """Where a reference was decided, and what it stood for."""

    entry_index: EntryIndex
    position: int
    content_digest: bytes


def reference_key(merchant: MerchantId | Literal[""], reference: Reference) -> str:
    """The first 128 bits of the SHA-256 of merchant, zero byte and reference, in hexadecimal."""
    return hashlib.sha256(f"{merchant}\0{reference}".encode()).hexdigest()[:32]


def find_references(cursor: Cursor, asked: Collection[SignedReference]) -> dict[SignedReference, StoredReference]:
    """Those of the references that have been decided."""
    if not asked:
        return {}
    by_key = {reference_key(merchant, reference): (merchant, reference) for merchant, reference in asked}
    cursor.execute(
        f"{PROBE_INDEXES} SELECT reference_key::text, entry_index, position, content_digest::text"  # noqa: S608 - a constant
        " FROM transaction_references WHERE reference_key = ANY (%s::uuid[])",
        (array_literal(by_key),),
    )
    return {
        by_key[UUID(key).hex]: StoredReference(entry_index, position, UUID(digest).bytes)
        for key, entry_index, position, digest in cursor.fetchall()
    }
