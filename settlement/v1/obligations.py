"""Obligations: what one participant owes another for a window, rounded once, with the remainder beside it.

Issuer pays: each issuer owes each redeemer for the issuer's points redeemed there, at the redemption price. A merchant
owes itself nothing for its own points; they are shown without a price. Pool: each issuer owes the pool for the points
it issued and did not get back unspent, at its issuance price, and the pool owes each redeemer for every point redeemed
there, the redeemer's own included, at the redemption price of each issuer's points.

The price is that of the month in which the points were issued, whenever they are burned or taken back: so a refund
takes back exactly what the original was worth, also where that was in an earlier window, and no change of prices alters
the worth of a point that exists.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from clearing.model import POOL, MerchantId, SettlementMethod
from clearing.rules.directory import Directory
from clearing.rules.movements import MOVEMENTS, Flow, Movement
from clearing.rules.terms import issuance_price, redemption_price
from settlement.v1.errors import InconsistentFlowsError
from settlement.v1.money import exact_arithmetic, minor_from_major, round_half_even
from settlement.v1.points import REDEEMED

Pair = tuple[MerchantId, MerchantId]
"""Debtor and creditor."""

ISSUANCE_CHARGED: Mapping[Movement, int] = {
    movement: row.pool_charge for movement, row in MOVEMENTS.items() if row.pool_charge
}
"""What the pool's issuance fee is charged on."""


@dataclass(frozen=True, slots=True)
class PricedPoints:
    """Points of one obligation that share a price: one line of its calculation."""

    issuer: MerchantId
    redeemer: MerchantId | None
    """None: points are paid for because they were issued."""
    issued_from: datetime.date
    issued_to: datetime.date
    """First and last month of issue with points at this price, each as its first day."""
    price: Decimal
    """Major units a point."""
    points_counted: int
    """Issued or redeemed."""
    points_taken_back: int
    exact_minor: Decimal
    """Points times price, in minor units."""

    @property
    def points(self) -> int:
        """Net points."""
        return self.points_counted - self.points_taken_back


@dataclass(frozen=True, slots=True)
class Obligation:
    """What ``debtor`` owes ``creditor``. Negative where more was taken back than came in: then the creditor owes it.

    ``exact_minor`` is the sum of the lines, and ``amount_minor + remainder_minor = exact_minor``.
    """

    debtor: MerchantId
    creditor: MerchantId
    points: int
    exact_minor: Decimal
    """Minor units, before rounding."""
    amount_minor: int
    """Minor units, rounded half to even: what is settled."""
    remainder_minor: Decimal
    """Minor units that rounding left over, -0.5 to 0.5: the debtor owes this much more than it is asked for."""
    lines: tuple[PricedPoints, ...]


_minor_price = lru_cache(maxsize=1024)(minor_from_major)
"""A price in minor units a point: prices are few."""


class _LineKey(NamedTuple):
    """What a month's points are summed by; in this order the months of one price come after each other."""

    issuer: MerchantId
    redeemer: MerchantId | None
    month: datetime.date


@dataclass(slots=True)
class _MonthPoints:
    counted: int = 0
    taken_back: int = 0

    def add(self, sign: int, points: int) -> None:
        if sign > 0:
            self.counted += points
        else:
            self.taken_back += points


def obligations(directory: Directory, flows: Iterable[Flow]) -> tuple[Obligation, ...]:
    """All obligations of a window's flows by the alliance's method, ordered by debtor and creditor."""
    by_pool = directory.constitution.settlement_method is SettlementMethod.POOL
    # One list a pair and nothing a month, which is summed when its pair's turn comes: pairs are many, and what is made
    # for each of them at the same time does not fit in a processor's cache.
    flows_of: defaultdict[Pair, list[Flow]] = defaultdict(list)
    for flow in flows:
        if flow.movement in REDEEMED:
            if flow.redeemer is None:
                raise InconsistentFlowsError(f"{flow} is redeemed nowhere")
            flows_of[POOL if by_pool else flow.issuer, flow.redeemer].append(flow)
        if by_pool and flow.movement in ISSUANCE_CHARGED:
            flows_of[flow.issuer, POOL].append(flow)
    with exact_arithmetic():
        return tuple(_obligation(directory, pair, _by_month(pair, flows_of[pair])) for pair in sorted(flows_of))


def _by_month(pair: Pair, flows: Iterable[Flow]) -> Mapping[_LineKey, _MonthPoints]:
    """A pair's points by month of issue: what is owed to the pool is the fee on issued points, all else redeemed."""
    _, creditor = pair
    is_fee = creditor == POOL
    signs = ISSUANCE_CHARGED if is_fee else REDEEMED
    months: defaultdict[_LineKey, _MonthPoints] = defaultdict(_MonthPoints)
    for flow in flows:
        key = _LineKey(flow.issuer, None if is_fee else flow.redeemer, flow.issued_in)
        months[key].add(signs[flow.movement], flow.points)
    return months


def _obligation(directory: Directory, pair: Pair, months: Mapping[_LineKey, _MonthPoints]) -> Obligation:
    """The pair's obligation; to be called with exact arithmetic."""
    debtor, creditor = pair

    def priced(key: _LineKey) -> tuple[MerchantId, MerchantId | None, Decimal]:
        price = Decimal(0) if debtor == creditor else _price(directory, key)
        return key.issuer, key.redeemer, price

    # Nothing is both issued and redeemed for the same pair, so the keys have redeemers all, or none has.
    in_order = sorted(months)
    decimals = directory.constitution.currency_decimals
    lines = []
    for (issuer, redeemer, price), group in groupby(in_order, key=priced):
        keys = list(group)
        counted = sum(months[key].counted for key in keys)
        taken_back = sum(months[key].taken_back for key in keys)
        # Adding zero makes a negative zero positive.
        exact = (counted - taken_back) * _minor_price(price, decimals) + 0
        lines.append(PricedPoints(issuer, redeemer, keys[0].month, keys[-1].month, price, counted, taken_back, exact))
    exact_minor = sum((line.exact_minor for line in lines), Decimal(0))
    amount_minor = round_half_even(exact_minor)
    remainder_minor = exact_minor - amount_minor
    points = sum(line.points for line in lines)
    return Obligation(debtor, creditor, points, exact_minor, amount_minor, remainder_minor, tuple(lines))


def _price(directory: Directory, key: _LineKey) -> Decimal:
    if key.redeemer is None:
        return issuance_price(directory, key.issuer, key.month)
    return redemption_price(directory, key.issuer, key.redeemer, key.month)
