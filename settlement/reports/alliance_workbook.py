"""The alliance's statement as a workbook (Office Open XML, ``.xlsx``), for readers who need not be accountants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from clearing.model import POOL, MerchantId
from settlement.reports.workbook_layout import Cell, Column, Fact, Formula, column_letter
from settlement.reports.workbook_sheets import SheetMaker, name, roll_forward, window_title
from settlement.reports.workbook_styles import Kind
from settlement.v1.statements import AllianceStatement, Settlement

_MATRIX_COLUMN_WIDTH = 13


def alliance_workbook(settlement: Settlement) -> bytes:
    """The file: summary, points, matrices in points and money, obligations, positions, payments, calculation, proof."""
    statement = settlement.alliance
    maker = SheetMaker(f"Alliance statement {statement.period.window}", statement.period, statement.obligations)
    _summary(maker, statement)
    _points(maker, settlement)
    _redeemed_matrix(maker, statement)
    _owed_matrix(maker, statement)
    maker.obligations(
        "Obligations",
        "Obligations, each rounded once",
        "What each participant owes another before anything is set off.",
        statement.obligations,
        {"Owes": lambda each: each.debtor, "Is owed": lambda each: each.creditor},
    )
    _positions(maker, settlement)
    maker.payments(
        statement.payments,
        "The payments to make. There are as few as possible: each settles what remains after everything that the "
        "participants owe each other is set off, so who pays whom need not be who owed whom.",
    )
    maker.calculation(statement.obligations)
    of_merchants = {f"merchant {who}": digest for who, digest in settlement.merchant_digests.items()}
    maker.proof({"alliance": settlement.alliance_digest} | of_merchants)
    return maker.book.content()


def _summary(maker: SheetMaker, statement: AllianceStatement) -> None:
    money = (
        Fact(
            "Owed before netting",
            maker.money(statement.obligations_minor),
            Kind.MONEY,
            "All obligations, each rounded once to the currency's smallest unit.",
        ),
        Fact(
            "Left over by rounding",
            maker.money(statement.remainder_minor),
            Kind.EXACT,
            "Exact less rounded amounts; each remainder is on the sheet Obligations.",
        ),
        Fact("Paid after netting", maker.money(statement.payments_minor), Kind.MONEY, "All payments together."),
        Fact("Number of payments", len(statement.payments), Kind.COUNT, "As few as settle everything."),
        Fact(
            "Sum of all positions",
            maker.money(statement.positions_sum_minor),
            Kind.MONEY,
            "What some receive the others pay, so this is always nil.",
        ),
    )
    maker.book.facts(
        "Summary",
        f"Alliance statement, {window_title(statement.period)}",
        "The points of all merchants, and what the merchants pay each other for this month. Points and the two "
        "matrices show where the figures come from, Payments what is to be done, Proof how an auditor checks it.",
        (
            ("Window", maker.window_facts()),
            ("Points of all merchants", maker.points_facts(statement.points)),
            ("Money", money),
        ),
    )


def _points(maker: SheetMaker, settlement: Settlement) -> None:
    rows: list[Sequence[Cell]] = [
        (
            each.merchant,
            each.legal_name,
            *(line.points for line in roll_forward(each.points)),
            Formula("=SUM(C{row}:J{row})", each.points.closing.outstanding),
            each.points.closing.on_cards,
            -each.points.closing.owed_by_cards,
        )
        for each in settlement.merchants
    ]
    headings = [line.label for line in roll_forward(settlement.merchants[0].points)] if settlement.merchants else []
    maker.book.table(
        "Points",
        "Points by issuer, from opening to closing",
        "Each line is one merchant's own points, wherever they were redeemed. Opening to Expiry reversed add up to "
        "Closing, and Closing is what is on cards less what cards owe.",
        (
            Column("Issuer", Kind.TEXT, 18),
            Column("Legal name", Kind.TEXT, 26),
            *(Column(heading, Kind.POINTS, 13, total=True) for heading in headings),
            Column("Closing", Kind.POINTS, 13, total=True),
            Column("of which on cards", Kind.POINTS, 13, total=True),
            Column("of which owed by cards", Kind.POINTS, 13, total=True),
        ),
        rows,
    )


def _redeemed_matrix(maker: SheetMaker, statement: AllianceStatement) -> None:
    maker.book.table(
        "Redeemed points",
        "Redeemed points: issuer by redeemer",
        "Read along a line: points of this merchant, by where customers redeemed them, less refunds. "
        "Read down a column: points redeemed at this merchant, by who issued them. On the diagonal are own points.",
        *_matrix(
            Column("Issuer \\ Redeemer", Kind.POINTS, _MATRIX_COLUMN_WIDTH),
            [each.issuer for each in statement.points],
            {(each.issuer, each.redeemer): each.points for each in statement.redemptions},
        ),
    )


def _owed_matrix(maker: SheetMaker, statement: AllianceStatement) -> None:
    maker.book.table(
        "Owed amounts",
        f"Owed amounts in {statement.period.currency}: debtor by creditor",
        "Read along a line: what this participant owes. Read down a column: what it is owed. "
        "A negative amount is owed the other way: more was taken back than came in.",
        *_matrix(
            Column("Owes \\ Is owed", Kind.MONEY, _MATRIX_COLUMN_WIDTH),
            [each.participant for each in statement.positions],
            {(each.debtor, each.creditor): maker.money(each.amount_minor) for each in statement.obligations},
        ),
    )


def _matrix(
    corner: Column,
    participants: Sequence[MerchantId],
    cells: Mapping[tuple[MerchantId, MerchantId], int | Decimal],
) -> tuple[Sequence[Column], Sequence[Sequence[Cell]]]:
    """Columns and rows of a square table with totals both ways; ``corner`` says what it shows and how wide."""
    columns = (
        Column(corner.heading, Kind.TEXT, 20),
        *(Column(name(each), corner.kind, max(corner.width, len(each) + 1), total=True) for each in participants),
        Column("Total", corner.kind, corner.width + 2, total=True),
    )
    last = column_letter(len(participants))
    rows = []
    for row in participants:
        figures = [cells.get((row, column), 0) for column in participants]
        total = Formula(f"=SUM(B{{row}}:{last}{{row}})", sum(figures, Decimal(0)))
        rows.append((name(row), *figures, total))
    return columns, rows


def _positions(maker: SheetMaker, settlement: Settlement) -> None:
    legal_names = {POOL: "the pool of the alliance"} | {each.merchant: each.legal_name for each in settlement.merchants}
    currency = settlement.period.currency
    maker.book.table(
        "Positions",
        "Positions: what each participant receives or pays in the end",
        "Everything a participant is owed, less everything it owes. Above nil it receives money, below nil (red) it "
        "pays. What some receive the others pay, so the net column adds up to nil exactly.",
        (
            Column("Participant", Kind.TEXT, 20),
            Column("Legal name", Kind.TEXT, 30),
            Column(f"Is owed ({currency})", Kind.MONEY, 18, total=True),
            Column(f"Owes ({currency})", Kind.MONEY, 18, total=True),
            Column(f"Net ({currency})", Kind.MONEY, 18, total=True),
        ),
        [
            (
                name(each.participant),
                legal_names[each.participant],
                maker.money(each.receivable_minor),
                maker.money(-each.payable_minor),
                Formula("=C{row}+D{row}", maker.money(each.net_minor)),
            )
            for each in settlement.alliance.positions
        ],
    )
