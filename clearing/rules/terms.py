"""Terms: dated prices of the alliance, of merchants and of pairs, and which of them applies."""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal

from clearing.model import MerchantId, Outcome, SetTerms
from clearing.rules.case import Case
from clearing.rules.directory import Directory, Prices, TermsScope


def set_terms(case: Case, action: SetTerms) -> Directory | Outcome:
    """The directory with these prices for points issued from a month on; they replace terms of that scope and month.

    Prices change with the first day of a month that has not begun, and never for points that exist: a lot is settled at
    the prices of its month of issue. So a member's or a pair's first terms hold from the next month at the earliest
    too; until then the wider scope's apply.
    """
    directory = case.directory
    for merchant in (action.merchant, action.counterparty):
        if merchant is not None and merchant not in directory.merchants:
            return Outcome.UNKNOWN_MERCHANT
    scope: TermsScope = (action.merchant, action.counterparty)
    earlier = directory.terms.get(scope, ())
    if action.effective_from <= case.today:
        return Outcome.TERMS_BACKDATED
    prices = Prices(action.effective_from, action.issuance_price, action.redemption_price)
    kept = tuple(other for other in earlier if other.effective_from != action.effective_from)
    dated = tuple(sorted((*kept, prices), key=lambda each: each.effective_from))
    return replace(directory, terms={**directory.terms, scope: dated})


def issuance_price(directory: Directory, issuer: MerchantId, issued_in: datetime.date) -> Decimal:
    """What ``issuer`` pays for a point issued in this month, in major units: its own price, else the alliance's."""
    for scope in ((issuer, None), (None, None)):
        prices = _in_force(directory, scope, issued_in)
        if prices is not None and prices.issuance_price is not None:
            return prices.issuance_price
    return directory.constitution.issuance_price


def redemption_price(
    directory: Directory, issuer: MerchantId, redeemer: MerchantId, issued_in: datetime.date
) -> Decimal:
    """What a point of ``issuer`` issued in this month is worth to ``redeemer``, whenever it is burned, in major units.

    The pair's price of that month, else the redeemer's own, else the alliance's: a member that was admitted later, or a
    pair that agreed later, gets the alliance's for older lots.
    """
    for scope in ((issuer, redeemer), (redeemer, None), (None, None)):
        prices = _in_force(directory, scope, issued_in)
        if prices is not None:
            return prices.redemption_price
    return directory.constitution.redemption_price


def _in_force(directory: Directory, scope: TermsScope, month: datetime.date) -> Prices | None:
    """The scope's newest prices that had begun with the first day of this month."""
    in_force = None
    for prices in directory.terms.get(scope, ()):
        if prices.effective_from <= month:
            in_force = prices
    return in_force
