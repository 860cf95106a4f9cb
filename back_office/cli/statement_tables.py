"""Statements as tables on a terminal, from their JSON form: the one whose digest is logged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group

from back_office.cli.console import make_table
from settlement.v1.money import amount_text

MATRIX_PARTICIPANTS_MAX = 14
"""Above that a matrix is wider than a terminal, and the obligations are listed instead."""

Statement = dict[str, Any]


def obligations_table(statement: Statement) -> Group:
    """Who owes whom, before netting: debtors down, creditors across; a list where there are many."""
    owed = {
        (each["debtor"], each["creditor"]): each
        for each in statement["obligations"]
        if each["debtor"] != each["creditor"]
    }
    participants = sorted({name for pair in owed for name in pair})
    currency = statement["alliance"]["currency"]
    if len(participants) > MATRIX_PARTICIPANTS_MAX:
        rows = [
            (debtor, creditor, f"{each['points']:,}", each["amount"])
            for (debtor, creditor), each in sorted(owed.items())
        ]
        columns = ("debtor", "creditor", "points", currency)
        return make_table("Obligations", columns, rows, numbers=("points", currency))
    matrix = []
    for debtor in participants:
        cells = [owed[debtor, creditor]["amount"] if (debtor, creditor) in owed else "·" for creditor in participants]
        matrix.append((debtor, *cells))
    title = f"Obligations in {currency}: each line owes each column"
    return make_table(title, ("", *participants), matrix, numbers=participants)


def positions_table(statement: Statement) -> Group:
    """What everyone owes, is owed, and pays or receives net."""
    rows = [(each["participant"], each["payable"], each["receivable"], each["net"]) for each in positions(statement)]
    columns = ("participant", "owes", "is owed", "net")
    title = f"Net positions in {statement['alliance']['currency']}: above zero is paid, below zero pays"
    return make_table(title, columns, rows, numbers=columns[1:])


def positions(statement: Statement) -> list[dict[str, Any]]:
    """The positions: all of an alliance statement, the one of a merchant's."""
    if statement["kind"] == "alliance-statement":
        return list(statement["positions"])
    return [statement["position"]]


def payments_table(statement: Statement) -> Group:
    """The payments that settle the positions, and what they come to."""
    alliance = statement["alliance"]
    payments = [(each["payer"], each["payee"], int(each["amount_minor"])) for each in statement["payments"]]
    return payments_listed(payments, alliance["currency"], alliance["currency_decimals"])


def payments_listed(payments: Iterable[tuple[str, str, int]], currency: str, decimals: int) -> Group:
    """Payer, payee and minor units of each payment, in major units, and their sum."""
    listed = list(payments)
    rows = [(payer, payee, amount_text(amount_minor, decimals)) for payer, payee, amount_minor in listed]
    if len(rows) > 1:
        rows.append(("all", "", amount_text(sum(amount_minor for *_, amount_minor in listed), decimals)))
    return make_table(f"Payments ({len(listed)})", ("payer", "payee", currency), rows, numbers=(currency,))


def points_table(statement: Statement) -> Group:
    """The points of each issuer, from opening to closing."""
    alliance = statement["kind"] == "alliance-statement"
    rows = [
        (
            each["issuer"],
            f"{each['opening']['outstanding']:,}",
            f"{each['issued']['net']:,}",
            f"{each['redeemed']['net']:,}",
            f"{each['expired']['net']:,}",
            f"{each['closing']['outstanding']:,}",
        )
        for each in (statement["points"] if alliance else [statement["points"]])
    ]
    columns = ("issuer", "opening", "issued", "redeemed", "expired", "closing")
    return make_table(f"Points in {statement['alliance']['unit']}", columns, rows, numbers=columns[1:])
