"""Whose the stores of a baskets file are: what ``store import`` and ``submit`` must agree on."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from back_office.client.connection import GatewayConnection
from back_office.errors import BackOfficeError
from clearing.model import MerchantId, StoreId
from clearing.signing.keys import PrivateKey
from clearing.v1.operations_pb2 import ListMerchantsRequest, Merchant
from merchant_gateway.client.baskets.store_merchants import hashed_store_merchants, read_store_merchants


def listed_merchants(connection: GatewayConnection, key: PrivateKey) -> Sequence[Merchant]:
    """All members, by identifier."""
    return connection.call(connection.operations.ListMerchants, ListMerchantsRequest(), key).merchants


def merchants_of_stores(
    stores: AbstractSet[StoreId], mapping: Path | None, members: Sequence[Merchant]
) -> dict[StoreId, MerchantId]:
    """The merchant of each store: from the mapping file, or by hash over the members where there is none.

    Raises ``BackOfficeError`` where a store has none, or is open as another merchant's; ``CsvUnreadableError``,
    ``CsvFileError`` and ``BasketJobError``.
    """
    if mapping is not None:
        merchants = read_store_merchants(mapping)
    else:
        merchants = hashed_store_merchants(stores, [MerchantId(member.merchant) for member in members])
    missing = sorted(stores - merchants.keys())
    if missing:
        raise BackOfficeError(f"{mapping} names no merchant for {len(missing):,} stores, such as {missing[0]}")
    owners = {StoreId(store): MerchantId(member.merchant) for member in members for store in member.stores}
    for store in sorted(stores):
        if owners.get(store, merchants[store]) != merchants[store]:
            raise BackOfficeError(
                f"store {store} is open as {owners[store]}'s and is given to {merchants[store]} here; "
                "a store keeps its merchant, so give a mapping that says so: --stores"
            )
    return {store: merchants[store] for store in stores}
