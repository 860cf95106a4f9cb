"""The sheets that the alliance's workbook and a merchant's have in common."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from clearing.calendar import moment_of
from clearing.model import POOL, MerchantId, Payment, SettlementMethod
from settlement.reports.workbook_layout import Book, Cell, Column, Fact, Formula
from settlement.reports.workbook_styles import Kind
from settlement.v1.money import decimal_text, major_from_minor
from settlement.v1.obligations import Obligation
from settlement.v1.points import IssuerPoints
from settlement.v1.statements import Period

# Not those of the calendar module: they depend on the machine's language, and files of equal statements are equal.
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_METHODS = {
    SettlementMethod.ISSUER_PAYS: "Issuer pays: whoever issued a point pays whoever redeemed it, when it is redeemed.",
    SettlementMethod.POOL: "Pool: issuers pay the pool for points as they issue them; the pool pays redeemers.",
}


Parties = Mapping[str, Callable[[Obligation], MerchantId]]
"""Headings of the columns that say who owes or is owed, and which party each shows."""


class SheetMaker:
    """Adds common sheets to a workbook of one period."""

    def __init__(self, title: str, period: Period, obligations: Sequence[Obligation]) -> None:
        """Begin the workbook; ``obligations`` decide how many decimals exact amounts and prices need."""
        lines = [line for obligation in obligations for line in obligation.lines]
        exact_minor = [obligation.exact_minor for obligation in obligations] + [line.exact_minor for line in lines]
        exact_places = max((_places(each) for each in exact_minor), default=0) + period.currency_decimals
        price_places = max((_places(line.price) for line in lines), default=0)
        self.book = Book(title, _window_end(period), period.currency_decimals, (exact_places, price_places))
        self.period = period

    def money(self, amount_minor: int | Decimal) -> Decimal:
        """Minor units as the major units that are shown."""
        return major_from_minor(amount_minor, self.period.currency_decimals)

    def calculation(self, obligations: Iterable[Obligation]) -> None:
        """How each obligation was calculated: points by price and months of issue."""
        rows: list[Sequence[Cell]] = [
            (
                name(each.debtor),
                name(each.creditor),
                name(line.issuer),
                "issued" if line.redeemer is None else "redeemed",
                f"{line.issued_from:%Y-%m}",
                f"{line.issued_to:%Y-%m}",
                line.points_counted,
                -line.points_taken_back,
                Formula("=G{row}+H{row}", line.points),
                line.price,
                self.money(line.exact_minor),
            )
            for each in obligations
            for line in each.lines
        ]
        self.book.table(
            "Calculation",
            "Calculation: points times price",
            "One line for each price that applied. Points have the price of the month in which they were issued, "
            "whenever they are redeemed or taken back, so that month can lie long before this one. "
            "Where issuers pay, a merchant owes itself nothing for its own points: their price is nil.",
            (
                Column("Owes", Kind.TEXT, 18),
                Column("Is owed", Kind.TEXT, 18),
                Column("Points of", Kind.TEXT, 18),
                Column("Because", Kind.TEXT, 10),
                Column("Issued from", Kind.CODE, 11),
                Column("Issued to", Kind.CODE, 11),
                Column("Points", Kind.POINTS, 13),
                Column("Taken back", Kind.POINTS, 13),
                Column("Net points", Kind.POINTS, 13),
                Column(f"Price a point ({self.period.currency})", Kind.PRICE, 14),
                Column(f"Exact amount ({self.period.currency})", Kind.EXACT, 18, total=True),
            ),
            rows,
        )

    def obligations(
        self, sheet_name: str, title: str, explanation: str, obligations: Iterable[Obligation], parties: Parties
    ) -> None:
        """What is owed, exactly and rounded, by the parties that matter in this sheet."""
        currency = self.period.currency
        self.book.table(
            sheet_name,
            title,
            f"{explanation} The exact amount is rounded once to the currency's smallest unit, half to even; the "
            "remainder is what rounding left over, shown so that nothing is lost. A negative amount is owed the other "
            "way: more was taken back than came in.",
            (
                *(Column(heading, Kind.TEXT, 24) for heading in parties),
                Column("Points", Kind.POINTS, 14, total=True),
                Column(f"Exact amount ({currency})", Kind.EXACT, 20, total=True),
                Column(f"Amount ({currency})", Kind.MONEY, 18, total=True),
                Column(f"Remainder ({currency})", Kind.EXACT, 18, total=True),
            ),
            [
                (
                    *(name(party(each)) for party in parties.values()),
                    each.points,
                    self.money(each.exact_minor),
                    self.money(each.amount_minor),
                    self.money(each.remainder_minor),
                )
                for each in obligations
            ],
        )

    def payments(self, payments: Iterable[Payment], explanation: str) -> None:
        """Who pays whom."""
        self.book.table(
            "Payments",
            "Payments that settle this window",
            explanation,
            (
                Column("Pays", Kind.TEXT, 34),
                Column("Is paid", Kind.TEXT, 34),
                Column(f"Amount ({self.period.currency})", Kind.MONEY, 18, total=True),
            ),
            [(name(each.payer), name(each.payee), self.money(each.amount_minor)) for each in payments],
        )

    def proof(self, digests: Mapping[str, bytes]) -> None:
        """What to compare with the alliance's log."""
        period = self.period
        log = (
            Fact("Log", period.origin, note="The origin: the name under which the alliance signs its log."),
            Fact("First entry", period.first_index, Kind.COUNT, "Entries are numbered from 0."),
            Fact("Entries in this window", period.entries, Kind.COUNT, "Everything accepted in the month."),
            Fact("Log size", period.log_size, Kind.COUNT, "Entries from the log's beginning to the window's end."),
        )
        self.book.facts(
            "Proof",
            "Proof",
            "The figures follow from the alliance's log, which nobody can change unseen. An auditor recomputes them "
            "from the log alone: at this size it has this root, and a later entry, the proposal, holds the digests of "
            "the statements' JSON files.",
            (
                ("The log they were computed from", log),
                ("Root of the log at that size (RFC 6962, SHA-256)", (Fact("", period.log_root.hex(), Kind.CODE),)),
                (
                    "SHA-256 of the statements in JSON",
                    tuple(Fact(file, digest.hex(), Kind.CODE) for file, digest in digests.items()),
                ),
            ),
        )

    def points_facts(self, issuers: Sequence[IssuerPoints]) -> tuple[Fact, ...]:
        """The points of these issuers together, from opening to closing."""
        lines = [roll_forward(points) for points in issuers]
        facts = [
            Fact(step[0].label, sum(line.points for line in step), Kind.POINTS, step[0].meaning)
            for step in zip(*lines, strict=True)
        ]
        on_cards = sum(points.closing.on_cards for points in issuers)
        owed_by_cards = sum(points.closing.owed_by_cards for points in issuers)
        closing = Formula("=SUM(B{first}:B{last})", on_cards - owed_by_cards)
        return (
            *facts,
            Fact("Closing", closing, Kind.POINTS, "The sum of the lines above.", result=True),
            Fact("    of which on cards", on_cards, Kind.POINTS, "What customers can spend, until it expires."),
            Fact("    of which owed by cards", -owed_by_cards, Kind.POINTS, "Cancelled after they had been spent."),
        )

    def window_facts(self) -> tuple[Fact, ...]:
        """What the figures are about."""
        period = self.period
        return (
            Fact("Window", period.window, note="A window is one calendar month."),
            Fact("First day", period.first_day, Kind.DAY, f"In the alliance's time zone, {period.time_zone}."),
            Fact("Last day", period.last_day, Kind.DAY),
            Fact("Method", method_name(period.method), note=_METHODS[period.method]),
            Fact("Unit of points", period.unit),
            Fact("Currency", period.currency, note="All amounts are in this currency."),
        )


class RollForwardLine(NamedTuple):
    """One step of an issuer's points from opening to closing."""

    label: str
    points: int
    """Signed as it changes the balance."""
    meaning: str


def roll_forward(points: IssuerPoints) -> tuple[RollForwardLine, ...]:
    """An issuer's points, beginning with the opening; together the lines come to the closing points."""
    return (
        RollForwardLine("Opening", points.opening.outstanding, "At the start: on cards, less what cards owe."),
        RollForwardLine("Earned", points.earned, "Points that customers earned."),
        RollForwardLine("Earns taken back", -points.earns_taken_back, "Earned points cancelled: goods returned."),
        RollForwardLine("Debts repaid", points.debt_repaid_elsewhere, "Spent before they were cancelled, now repaid."),
        RollForwardLine("Redeemed", -points.redeemed_gross, "Points that customers redeemed, wherever."),
        RollForwardLine("Redemptions refunded", points.redemptions_refunded, "Redeemed points given back to cards."),
        RollForwardLine("Expired", -points.expired_gross, "Points past their last day, booked as expired."),
        RollForwardLine("Expiry reversed", points.taken_back_after_expiry, "Points cancelled after they expired."),
    )


def name(participant: MerchantId) -> str:
    """A participant as it is shown."""
    return "Pool" if participant == POOL else participant


def window_title(period: Period) -> str:
    """The month as it is shown in titles, such as ``January 2026``."""
    return f"{_MONTHS[period.first_day.month - 1]} {period.first_day.year}"


def method_name(method: SettlementMethod) -> str:
    """The settlement method as it is shown."""
    return "pool" if method is SettlementMethod.POOL else "issuer pays"


def _places(number: Decimal) -> int:
    """Decimals that a number needs."""
    return len(decimal_text(number).partition(".")[2])


def _window_end(period: Period) -> datetime.datetime:
    """The first instant after the window, in UTC: the time that the workbook gives as its own."""
    return moment_of(period.ends_at)
