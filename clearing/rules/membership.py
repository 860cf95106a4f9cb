"""Admit merchant and open store."""

from __future__ import annotations

from dataclasses import replace

from clearing.model import AdmitMerchant, OpenStore, Outcome
from clearing.rules.case import Case
from clearing.rules.directory import Directory, Merchant


def admit_merchant(case: Case, action: AdmitMerchant) -> Directory | Outcome:
    """The directory with one member more."""
    directory = case.directory
    if action.merchant in directory.merchants:
        return Outcome.MERCHANT_EXISTS
    merchants = {**directory.merchants, action.merchant: Merchant(action.merchant, action.legal_name)}
    return replace(directory, merchants=merchants)


def open_store(case: Case, action: OpenStore) -> Directory | Outcome:
    """The directory with one store more."""
    directory = case.directory
    merchant = directory.merchants.get(action.merchant)
    if merchant is None:
        return Outcome.UNKNOWN_MERCHANT
    if action.store in directory.stores:
        return Outcome.STORE_EXISTS
    with_store = replace(merchant, stores=tuple(sorted((*merchant.stores, action.store))))
    return replace(
        directory,
        merchants={**directory.merchants, action.merchant: with_store},
        stores={**directory.stores, action.store: action.merchant},
    )
