"""Terms: dated prices of the alliance, of merchants and of pairs, and which of them applies."""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal

from clearing.model import MerchantId, Outcome, SetTerms
from clearing.rules.case import Case
from clearing.rules.directory import Directory, Prices, TermsScope


def set_terms(case: Case, action: SetTerms) -> Directory | Outcome:
    """The directory with these prices from their date on; they replace terms of the same scope and a date to come.

    Prices hold for whole days, so they begin after today. The first terms of a merchant or a pair may begin today.
    """
    directory, today = case.directory, case.today
    for merchant in (action.merchant, action.counterparty):
        if merchant is not None and merchant not in directory.merchants:
            return Outcome.UNKNOWN_MERCHANT
    scope: TermsScope = (action.merchant, action.counterparty)
    earlier = directory.terms.get(scope, ())
    may_begin_today = not earlier and action.merchant is not None
    if action.effective_from < today or (action.effective_from == today and not may_begin_today):
        return Outcome.TERMS_BACKDATED
    prices = Prices(action.effective_from, action.issuance_price, action.redemption_price)
    kept = tuple(other for other in earlier if other.effective_from != action.effective_from)
    dated = tuple(sorted((*kept, prices), key=lambda each: each.effective_from))
    return replace(directory, terms={**directory.terms, scope: dated})


def issuance_price(directory: Directory, issuer: MerchantId, day: datetime.date) -> Decimal:
    """What ``issuer`` pays for a point issued on ``day``, in major units: its own price, else the alliance's."""
    for scope in ((issuer, None), (None, None)):
        prices = _in_force(directory, scope, day)
        if prices is not None and prices.issuance_price is not None:
            return prices.issuance_price
    return directory.constitution.issuance_price


def redemption_price(directory: Directory, issuer: MerchantId, redeemer: MerchantId, day: datetime.date) -> Decimal:
    """What a point of ``issuer`` burned at ``redeemer`` on ``day`` is worth to the redeemer, in major units.

    The pair's price, else the redeemer's own, else the alliance's.
    """
    for scope in ((issuer, redeemer), (redeemer, None), (None, None)):
        prices = _in_force(directory, scope, day)
        if prices is not None:
            return prices.redemption_price
    return directory.constitution.redemption_price


def _in_force(directory: Directory, scope: TermsScope, day: datetime.date) -> Prices | None:
    """The scope's newest prices that had begun on ``day``."""
    in_force = None
    for prices in directory.terms.get(scope, ()):
        if prices.effective_from <= day:
            in_force = prices
    return in_force
