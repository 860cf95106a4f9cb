"""The stores of the members: opening them, and whose those of a file of baskets are.

The commands ``store import`` and ``submit`` must agree on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from back_office.client.instructing import Unsigned
from back_office.client.merchants import Member
from back_office.errors import BackOfficeError
from clearing.model import MerchantId, StoreId
from clearing.v1.instruction_pb2 import Instruction, OpenStore
from merchant_gateway.client.baskets.store_merchants import hashed_store_merchants, read_store_merchants


def opening(merchant: str, store: str) -> Unsigned:
    """Open a merchant's store."""
    return Unsigned(Instruction(open_store=OpenStore(merchant=merchant, store=store)), ("open", store))


def merchants_of_stores(
    stores: AbstractSet[StoreId], mapping: Path | None, members: Sequence[Member]
) -> dict[StoreId, MerchantId]:
    """The merchant of each store: from the mapping file, or by hash over the members where there is none.

    Raises ``BackOfficeError`` where a store has none, or is open as another merchant's; ``CsvUnreadableError``,
    ``CsvFileError`` and ``BasketJobError``.
    """
    if mapping is not None:
        merchants = read_store_merchants(mapping)
    else:
        merchants = hashed_store_merchants(stores, [member.merchant for member in members])
    missing = sorted(stores - merchants.keys())
    if missing:
        raise BackOfficeError(f"{mapping} names no merchant for {len(missing):,} stores, such as {missing[0]}")
    owners = {store: member.merchant for member in members for store in member.stores}
    for store in sorted(stores):
        if owners.get(store, merchants[store]) != merchants[store]:
            raise BackOfficeError(
                f"store {store} is open as {owners[store]}'s and is given to {merchants[store]} here; "
                "a store keeps its merchant, so give a mapping that says so: --stores"
            )
    return {store: merchants[store] for store in stores}
