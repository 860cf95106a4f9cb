"""Statements as one flat table: comma-separated values by RFC 4180, for spreadsheets, scripts and imports.

Every row says in ``record`` and ``item`` what it is; a column that has no meaning for it is empty. Money is in major
units of ``currency``, points carry the sign with which they change a balance::

    record           item                           from         to        figures
    points           opening, earned, ..., closing  issuer                 points; the eight before closing add up to it
    redemption       redeemed, refunded             issuer       redeemer  points
    obligation_line  issuance, redemption           issuer       redeemer  days, price, points, exact_amount
    obligation                                      debtor       creditor  points, amount, exact_amount, remainder
    bilateral_net                                   payer        payee     amount
    position         payable, receivable, net       participant            amount
    payment                                         payer        payee     amount
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clearing.model import Payment
from settlement.v1.money import amount_text, decimal_text, exact_text
from settlement.v1.netting import BilateralNet
from settlement.v1.obligations import Obligation
from settlement.v1.points import IssuerPoints, Redemption
from settlement.v1.statements import MerchantStatement, Period, Position, Settlement

COLUMNS = (
    "window",
    "statement_of",
    "record",
    "item",
    "from",
    "to",
    "issued_from",
    "issued_to",
    "price",
    "points",
    "currency",
    "amount",
    "exact_amount",
    "remainder",
    "log_size",
    "log_root_sha256",
)

ALLIANCE = "alliance"
"""``statement_of`` in the alliance's statement."""


class _Row(NamedTuple):
    """The columns between those that are the same in every row."""

    record: str
    item: str = ""
    from_name: str = ""
    to_name: str = ""
    issued_from: str = ""
    issued_to: str = ""
    price: str = ""
    points: str = ""
    currency: str = ""
    amount: str = ""
    exact_amount: str = ""
    remainder: str = ""


def merchant_csv(statement: MerchantStatement) -> bytes:
    """One merchant's statement."""
    rows = _Rows(statement.period)
    redemptions = dict.fromkeys((*statement.redeemed_from_me, *statement.redeemed_at_me))
    return rows.file(
        statement.merchant,
        rows.points(statement.points),
        rows.redemptions(redemptions),
        rows.obligations(statement.obligations),
        rows.bilateral(statement.bilateral),
        rows.positions((statement.position,)),
        rows.payments(statement.payments),
    )


def alliance_csv(settlement: Settlement) -> bytes:
    """The alliance's statement."""
    statement = settlement.alliance
    rows = _Rows(statement.period)
    return rows.file(
        ALLIANCE,
        *(rows.points(each) for each in statement.points),
        rows.redemptions(statement.redemptions),
        rows.obligations(statement.obligations),
        rows.bilateral(statement.bilateral),
        rows.positions(statement.positions),
        rows.payments(statement.payments),
    )


class _Rows:
    """Makes the rows of one file."""

    def __init__(self, period: Period) -> None:
        self._period = period

    def file(self, statement_of: str, *parts: Iterable[_Row]) -> bytes:
        """The header and all rows, each line ended by CR LF."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        proof = (self._period.log_size, self._period.log_root.hex())
        for part in parts:
            writer.writerows((self._period.window, statement_of, *row, *proof) for row in part)
        return text.getvalue().encode()

    def points(self, points: IssuerPoints) -> Iterator[_Row]:
        figures = {
            "opening": points.opening.outstanding,
            "earned": points.earned,
            "taken_back": -points.earns_taken_back,
            "debt_repaid_elsewhere": points.debt_repaid_elsewhere,
            "redeemed": -points.redeemed_gross,
            "redemptions_refunded": points.redemptions_refunded,
            "expired": -points.expired_gross,
            "expiry_reversed": points.taken_back_after_expiry,
            "closing": points.closing.outstanding,
            "opening_on_cards": points.opening.on_cards,
            "opening_owed_by_cards": -points.opening.owed_by_cards,
            "closing_on_cards": points.closing.on_cards,
            "closing_owed_by_cards": -points.closing.owed_by_cards,
        }
        for item, figure in figures.items():
            yield _Row("points", item, points.issuer, points=str(figure))

    def redemptions(self, redemptions: Iterable[Redemption]) -> Iterator[_Row]:
        for each in redemptions:
            yield _Row("redemption", "redeemed", each.issuer, each.redeemer, points=str(each.points_redeemed))
            yield _Row("redemption", "refunded", each.issuer, each.redeemer, points=str(-each.points_refunded))

    def obligations(self, obligations: Iterable[Obligation]) -> Iterator[_Row]:
        decimals = self._period.currency_decimals
        for each in obligations:
            for line in each.lines:
                yield _Row(
                    "obligation_line",
                    "issuance" if line.redeemer is None else "redemption",
                    line.issuer,
                    line.redeemer or "",
                    f"{line.issued_from:%Y-%m}",
                    f"{line.issued_to:%Y-%m}",
                    price=decimal_text(line.price),
                    points=str(line.points),
                    currency=self._period.currency,
                    exact_amount=exact_text(line.exact_minor, decimals),
                )
            yield self._money(
                _Row("obligation", "", each.debtor, each.creditor, points=str(each.points)), each.amount_minor
            )._replace(
                exact_amount=exact_text(each.exact_minor, decimals),
                remainder=exact_text(each.remainder_minor, decimals),
            )

    def bilateral(self, nets: Iterable[BilateralNet]) -> Iterator[_Row]:
        for each in nets:
            yield self._money(_Row("bilateral_net", "", each.payer, each.payee), each.amount_minor)

    def positions(self, positions: Iterable[Position]) -> Iterator[_Row]:
        for each in positions:
            yield self._money(_Row("position", "payable", each.participant), -each.payable_minor)
            yield self._money(_Row("position", "receivable", each.participant), each.receivable_minor)
            yield self._money(_Row("position", "net", each.participant), each.net_minor)

    def payments(self, payments: Iterable[Payment]) -> Iterator[_Row]:
        for each in payments:
            yield self._money(_Row("payment", "", each.payer, each.payee), each.amount_minor)

    def _money(self, row: _Row, amount_minor: int) -> _Row:
        amount = amount_text(amount_minor, self._period.currency_decimals)
        return row._replace(currency=self._period.currency, amount=amount)
