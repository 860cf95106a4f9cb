"""Baskets from a CSV file: ``basket_id,household_id,store_id,purchased_at,amount,coupon_discount``.

* ``basket_id`` is unique in the file: it makes the references of the basket's transactions.
* ``purchased_at`` is ISO 8601 to the second or finer. Without a zone it is local time in the alliance's. A local
  time that occurs twice, when clocks go back, is taken as the first of the two. One that does not occur, when clocks go
  forward, is read as if they had not yet (PEP 495, fold 0): 02:30 in a missing hour is what the clocks show as 03:30.
* ``amount`` is what was paid and ``coupon_discount`` the coupons used, in major units of the currency with at most its
  decimals. Points are earned on what was paid; coupons are between the shop and whoever issued them, and are only
  checked for their form, so that shifted columns do not pass.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from clearing.calendar import LocalCalendar, instant_of
from clearing.contract import bounds
from clearing.contract.bounds import PURCHASE_AMOUNT_MINOR_MAX
from clearing.errors import Rejection
from clearing.model import Instant, StoreId
from merchant_gateway.client.baskets.csv_file import CsvFileError, Fault, read_rows

HEADER = ("basket_id", "household_id", "store_id", "purchased_at", "amount", "coupon_discount")

BASKET_ID_CHARACTERS_MAX = 59
"""A reference has 64 characters, and ``earn-`` is 5 of them."""

_BASKET_ID = re.compile(rf"[!-~]{{1,{BASKET_ID_CHARACTERS_MAX}}}")
_HOUSEHOLD_ID = re.compile(r"[!-~]{1,64}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?")
_DECIMAL = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Basket:
    """One purchase."""

    line: int
    """Where it stands in the file."""
    basket_id: str
    household_id: str
    store: StoreId
    purchased_at: Instant
    amount_minor: int
    """Minor units of the alliance's currency."""


def read_baskets(path: Path, *, currency_decimals: int, calendar: LocalCalendar) -> list[Basket]:
    """The baskets of a file in the order of time; those of one instant in the order of the file.

    Raises ``CsvUnreadableError``, and ``CsvFileError`` with every line that is at fault.
    """
    faults: list[Fault] = []
    baskets: list[Basket] = []
    line_of: dict[str, int] = {}
    for line, fields in read_rows(path, HEADER, faults):
        try:
            basket = _basket(line, fields, currency_decimals, calendar)
        except Rejection as rejection:
            faults.append(Fault(line, rejection.message))
            continue
        earlier = line_of.setdefault(basket.basket_id, line)
        if earlier != line:
            faults.append(Fault(line, f"basket_id: {basket.basket_id!r} stands on line {earlier:,} already"))
        baskets.append(basket)
    if faults:
        raise CsvFileError(path, sorted(faults))
    return sorted(baskets, key=lambda basket: basket.purchased_at)


def _basket(line: int, fields: list[str], decimals: int, calendar: LocalCalendar) -> Basket:
    basket_id, household_id, store_id, purchased_at, amount, coupon_discount = fields
    basket = Basket(
        line=line,
        basket_id=_matching(
            _BASKET_ID, basket_id, "basket_id", f"1 to {BASKET_ID_CHARACTERS_MAX} printable ASCII characters"
        ),
        household_id=_matching(_HOUSEHOLD_ID, household_id, "household_id", "1 to 64 printable ASCII characters"),
        store=bounds.store(store_id, "store_id"),
        purchased_at=_moment(purchased_at, calendar),
        amount_minor=_minor_units(amount, "amount", decimals),
    )
    _minor_units(coupon_discount, "coupon_discount", decimals)
    return basket


def _matching(pattern: re.Pattern[str], text: str, field: str, expected: str) -> str:
    if not pattern.fullmatch(text):
        bounds.invalid(field, f"must be {expected}, without spaces")
    return text


def _moment(text: str, calendar: LocalCalendar) -> Instant:
    if _MOMENT.fullmatch(text):
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            if not 1970 < moment.year < 2100:
                bounds.invalid("purchased_at", "must lie between 1971 and 2099")
            return instant_of(moment) if moment.tzinfo is not None else calendar.instant_of_local(moment)
    bounds.invalid("purchased_at", "must be a moment that exists, such as 2017-01-31T18:05:00")


def _minor_units(text: str, field: str, decimals: int) -> int:
    number = _DECIMAL.fullmatch(text)
    if number is None:
        bounds.invalid(field, "must be a decimal number, such as 12.50")
    sign, whole, fraction = number[1], number[2], number[3] or ""
    if len(fraction) > decimals:
        bounds.invalid(field, f"has {len(fraction)} decimals, and the alliance's currency has {decimals}")
    amount_minor = int(whole + fraction.ljust(decimals, "0"))
    if sign and amount_minor:
        bounds.invalid(field, "must not be negative; present a refund where goods came back")
    if amount_minor > PURCHASE_AMOUNT_MINOR_MAX:
        bounds.invalid(field, "is larger than any purchase may be")
    return amount_minor
