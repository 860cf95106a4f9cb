"""Whose store is whose: from a mapping file, or by a hash where the source does not say."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from clearing.contract.bounds import slug
from clearing.errors import Rejection
from clearing.model import MerchantId, StoreId
from merchant_gateway.client.baskets.csv_file import CsvFileError, Fault, read_rows
from merchant_gateway.client.baskets.errors import BasketJobError

HEADER = ("store_id", "merchant")


def read_store_merchants(path: Path) -> dict[StoreId, MerchantId]:
    """A mapping file: CSV with the header ``store_id,merchant``.

    Raises ``CsvUnreadableError``, and ``CsvFileError`` with every line that is at fault.
    """
    faults: list[Fault] = []
    merchants: dict[StoreId, MerchantId] = {}
    for line, (store, merchant) in read_rows(path, HEADER, faults):
        for field, text in (("store_id", store), ("merchant", merchant)):
            try:
                slug(text, field)
            except Rejection as rejection:
                faults.append(Fault(line, rejection.message))
        if StoreId(store) in merchants:
            faults.append(Fault(line, f"store_id: {store!r} stands in the file already"))
        merchants[StoreId(store)] = MerchantId(merchant)
    if faults:
        raise CsvFileError(path, sorted(faults))
    return merchants


def hashed_store_merchants(stores: Iterable[StoreId], merchants: Collection[MerchantId]) -> dict[StoreId, MerchantId]:
    """Each store's merchant by hash.

    Of the merchants in the order of their identifiers it is the one at the place: the first 8 bytes of the SHA-256 of
    the store's identifier, as a big-endian number, modulo the number of merchants. Raises ``BasketJobError`` if
    there is none.
    """
    ordered = sorted(merchants)
    if not ordered:
        raise BasketJobError("the alliance has no merchants yet; have the operator admit some")
    return {store: ordered[_number_of(store) % len(ordered)] for store in stores}


def _number_of(store: StoreId) -> int:
    return int.from_bytes(hashlib.sha256(store.encode()).digest()[:8], "big")
