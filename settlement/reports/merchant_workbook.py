"""A merchant's statement as a workbook (Office Open XML, ``.xlsx``), for readers who need not be accountants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clearing.model import MerchantId
from settlement.reports.workbook_layout import Column, Fact, Formula
from settlement.reports.workbook_sheets import SheetMaker, name, window_title
from settlement.reports.workbook_styles import Kind
from settlement.v1.money import amount_text
from settlement.v1.points import Redemption
from settlement.v1.report_json import statement_digest
from settlement.v1.statements import MerchantStatement
from settlement.versions import settlement_rules

_SET_OFF = "What everybody owes everybody is set off; this payment remains."


def merchant_workbook(statement: MerchantStatement) -> bytes:
    """The file: summary, what it owes and is owed, redemptions by counterparty, payments, calculation, proof."""
    title = f"Statement {statement.period.window} for {statement.merchant}"
    maker = SheetMaker(title, statement.period, statement.obligations)
    _summary(maker, statement)
    maker.obligations(
        "You owe",
        "What you owe, by counterparty",
        "What you owe before anything is set off.",
        statement.i_owe,
        {"You owe": lambda each: each.creditor},
    )
    maker.obligations(
        "You are owed",
        "What you are owed, by counterparty",
        "What others owe you before anything is set off.",
        statement.i_am_owed,
        {"Owes you": lambda each: each.debtor},
    )
    _redemptions(
        maker,
        ("Your points redeemed", "Your points, by where customers redeemed them"),
        "Points that you issued, by the merchant where customers redeemed them, yourself included.",
        statement.redeemed_from_me,
        lambda each: each.redeemer,
    )
    _redemptions(
        maker,
        ("Redeemed at you", "Points redeemed at your stores, by who issued them"),
        "Points that customers redeemed at your stores, by the merchant that had issued them, yourself included.",
        statement.redeemed_at_me,
        lambda each: each.issuer,
    )
    maker.payments(
        statement.payments,
        "The payments that you make or receive. They come to your net position: what everybody owes everybody is set "
        "off, so you may pay, or be paid by, somebody other than those you owed or were owed by.",
    )
    maker.calculation(statement.obligations)
    rules = settlement_rules(statement.period.settlement_version)
    maker.proof({f"merchant {statement.merchant}": statement_digest(rules.merchant_json(statement))})
    return maker.book.content()


def _summary(maker: SheetMaker, statement: MerchantStatement) -> None:
    position = statement.position
    currency = statement.period.currency
    money = (
        Fact("You are owed", maker.money(position.receivable_minor), Kind.MONEY, "Details: sheet You are owed."),
        Fact("You owe", maker.money(-position.payable_minor), Kind.MONEY, "Details: sheet You owe."),
        Fact(
            f"Net ({currency})",
            Formula("=SUM(B{first}:B{last})", maker.money(position.net_minor)),
            Kind.MONEY,
            _position_in_words(statement),
            result=True,
        ),
    )
    payments = [
        Fact(f"Pay {name(each.payee)}", maker.money(each.amount_minor), Kind.MONEY, _SET_OFF)
        if each.payer == statement.merchant
        else Fact(f"Receive from {name(each.payer)}", maker.money(each.amount_minor), Kind.MONEY, _SET_OFF)
        for each in statement.payments
    ] or [Fact("Nothing", None)]
    maker.book.facts(
        "Summary",
        f"Statement for {statement.legal_name}, {window_title(statement.period)}",
        _position_in_words(statement) + " The other sheets show for what, and how an auditor checks it.",
        (
            (f"Money in {currency}", money),
            ("What to do", payments),
            ("Your points", maker.points_facts((statement.points,))),
            ("Window", (Fact("Merchant", statement.merchant), *maker.window_facts())),
        ),
    )


def _position_in_words(statement: MerchantStatement) -> str:
    net_minor = statement.position.net_minor
    if net_minor == 0:
        return "You neither pay nor receive money for this month."
    amount = amount_text(abs(net_minor), statement.period.currency_decimals)
    return f"You {'receive' if net_minor > 0 else 'pay'} {statement.period.currency} {amount} for this month."


def _redemptions(
    maker: SheetMaker,
    names: tuple[str, str],
    explanation: str,
    redemptions: Sequence[Redemption],
    counterparty: Callable[[Redemption], MerchantId],
) -> None:
    """A sheet of that name and title with the points of each counterparty."""
    sheet_name, title = names
    maker.book.table(
        sheet_name,
        title,
        explanation,
        (
            Column("Merchant", Kind.TEXT, 24),
            Column("Redeemed", Kind.POINTS, 16, total=True),
            Column("Refunded", Kind.POINTS, 16, total=True),
            Column("Net points", Kind.POINTS, 16, total=True),
        ),
        [
            (
                name(counterparty(each)),
                each.points_redeemed,
                -each.points_refunded,
                Formula("=B{row}+C{row}", each.points),
            )
            for each in redemptions
        ],
    )
