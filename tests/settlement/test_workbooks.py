"""Workbooks: the numbers in the cells are the statement's, and every formula carries the value it would compute."""

from __future__ import annotations

import datetime
import io
import re
from decimal import Decimal

import openpyxl
import pytest
from openpyxl.utils.cell import range_boundaries
from openpyxl.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from clearing.model import SettlementMethod
from settlement.reports.alliance_workbook import alliance_workbook
from settlement.reports.merchant_workbook import merchant_workbook
from settlement.v1.statements import Settlement
from tests.settlement.scenario import LOG_ROOT, MERCHANTS, settled
from tests.settlement.test_obligations import POOL_MONTH
from tests.settlement.test_reports import MONTH

A, B, C, D = MERCHANTS
HEADING_ROW = 4


def opened(content: bytes, *, formulas: bool = False) -> Workbook:
    return openpyxl.load_workbook(io.BytesIO(content), data_only=not formulas)


def workbooks(settlement: Settlement) -> list[bytes]:
    return [alliance_workbook(settlement), *map(merchant_workbook, settlement.merchants)]


def cells(book: Workbook, sheet: str) -> list[list[object]]:
    """The rows of a sheet's table below its heading, without empty ones, as wide as the heading."""
    width = sum(cell.value is not None for cell in book[sheet][HEADING_ROW])
    table = book[sheet].iter_rows(min_row=HEADING_ROW + 1, max_col=width, values_only=True)
    return [list(row) for row in table if any(cell is not None for cell in row)]


def exact(value: object) -> Decimal:
    """A number of a spreadsheet, to the 15 digits that it keeps."""
    return Decimal(f"{value or 0:.12g}")


SETTLEMENTS = [
    pytest.param(MONTH, SettlementMethod.ISSUER_PAYS, 2, id="issuer pays"),
    pytest.param(POOL_MONTH, SettlementMethod.POOL, 2, id="pool"),
    pytest.param(POOL_MONTH, SettlementMethod.ISSUER_PAYS, 0, id="no decimals"),
    pytest.param(POOL_MONTH, SettlementMethod.POOL, 3, id="three decimals"),
    pytest.param("", SettlementMethod.POOL, 2, id="empty month"),
]


@pytest.mark.parametrize(("text", "method", "decimals"), SETTLEMENTS)
def test_positions_payments_and_obligations_are_the_statements(
    text: str, method: SettlementMethod, decimals: int
) -> None:
    settlement = settled(text, method, decimals=decimals)
    book = opened(alliance_workbook(settlement))
    unit = Decimal(1).scaleb(-decimals)
    positions = cells(book, "Positions")
    assert [exact(row[4]) for row in positions[:-1]] == [
        each.net_minor * unit for each in settlement.alliance.positions
    ]
    assert positions[-1][0] == "Total"
    assert exact(positions[-1][4]) == 0
    if settlement.alliance.payments:
        payments = cells(book, "Payments")
        assert [exact(row[2]) for row in payments[:-1]] == [
            each.amount_minor * unit for each in settlement.alliance.payments
        ]
        assert exact(payments[-1][2]) == settlement.alliance.payments_minor * unit
        total = cells(book, "Obligations")[-1]
        assert exact(total[3]) == settlement.alliance.exact_minor * unit
        assert exact(total[4]) == settlement.alliance.obligations_minor * unit
        assert exact(total[5]) == settlement.alliance.remainder_minor * unit


def test_the_matrices_show_points_and_money_with_totals_both_ways() -> None:
    book = opened(alliance_workbook(settled(MONTH)))
    assert cells(book, "Redeemed points") == [
        ["a", 40, 301, -20, 0, 321],
        ["b", 0, 0, 0, 0, 0],
        ["c", 0, 0, 0, 0, 0],
        ["d", 0, 0, 0, 0, 0],
        ["Total", 40, 301, -20, 0, 321],
    ]
    money = cells(book, "Owed amounts")
    assert money[0] == ["a", 0, 3.16, -0.2, 0, 2.96]
    assert money[-1] == ["Total", 0, 3.16, -0.2, 0, 2.96]


def test_points_of_each_issuer_go_from_opening_to_closing() -> None:
    table = cells(opened(alliance_workbook(settled(MONTH))), "Points")
    assert table[0] == ["a", "=A & Söhne", 1000, 100, 0, 0, -341, 20, -25, 0, 754, 754, 0]
    assert table[-1] == ["Total", None, 1000, 600, -50, 0, -341, 20, -25, 0, 1204, 1204, 0]


def test_a_merchants_summary_says_what_to_pay_and_to_whom() -> None:
    book = opened(merchant_workbook(settled(MONTH).statement_of(A)))
    summary = {row[0]: row[1] for row in book["Summary"].iter_rows(values_only=True)}
    assert summary["Net (EUR)"] == -2.96
    assert summary["Pay b"] == 2.96
    assert (summary["Opening"], summary["Earned"], summary["Redeemed"], summary["Closing"]) == (1000, 100, -341, 754)
    assert str(book["Summary"]["A2"].value).startswith("You pay EUR 2.96 for this month.")
    assert cells(book, "You owe")[-1] == ["Total", 281, 2.9605, 2.96, 0.0005]
    assert cells(book, "You are owed") == [["None in this window.", None, None, None, None]]
    assert cells(book, "Your points redeemed")[-1] == ["Total", 341, -20, 321]


def value_of(formula: str, sheet: Worksheet) -> Decimal:
    """What a sum of a range or of two cells comes to, from the values of those cells."""
    found = re.fullmatch(r"=SUM\((\w+:\w+)\)|=(\w+)\+(\w+)", formula)
    assert found, f"{formula} is of neither kind"
    areas = [found[1]] if found[1] else [f"{found[2]}:{found[2]}", f"{found[3]}:{found[3]}"]
    values = [cell for area in areas for line in sheet.iter_rows(*boundaries(area), values_only=True) for cell in line]
    return sum(map(exact, values), Decimal(0))


def boundaries(area: str) -> tuple[int, int, int, int]:
    """First and last row, first and last column."""
    first_column, first_row, last_column, last_row = range_boundaries(area)
    assert first_row is not None, f"{area} has no first row"
    assert last_row is not None, f"{area} has no last row"
    assert first_column is not None, f"{area} has no first column"
    assert last_column is not None, f"{area} has no last column"
    return first_row, last_row, first_column, last_column


@pytest.mark.parametrize(("text", "method", "decimals"), SETTLEMENTS)
def test_every_formula_carries_the_value_it_computes(text: str, method: SettlementMethod, decimals: int) -> None:
    checked = 0
    for content in workbooks(settled(text, method, decimals=decimals)):
        values, formulas = opened(content), opened(content, formulas=True)
        for sheet in formulas.worksheets:
            for cell in (cell for line in sheet.iter_rows() for cell in line if cell.data_type == "f"):
                cached = values[sheet.title][cell.coordinate].value
                assert isinstance(cached, int | float), f"{sheet.title} {cell.coordinate} has no number"
                computed = value_of(str(cell.value), values[sheet.title])
                assert exact(computed) == exact(cached), f"{sheet.title} {cell.coordinate}"
                checked += 1
    assert checked > 10


def test_text_from_outside_is_never_a_formula() -> None:
    for content in workbooks(settled(MONTH)):
        for sheet in opened(content, formulas=True).worksheets:
            for cell in (cell for line in sheet.iter_rows() for cell in line):
                assert "Söhne" not in str(cell.value) or cell.data_type == "s"


@pytest.mark.parametrize(("decimals", "number_format"), [(0, "#,##0"), (2, "#,##0.00"), (3, "#,##0.000")])
def test_money_has_the_currencys_decimals_and_negative_numbers_are_red(decimals: int, number_format: str) -> None:
    book = opened(alliance_workbook(settled(POOL_MONTH, SettlementMethod.POOL, decimals=decimals)))
    cell = book["Positions"].cell(HEADING_ROW + 1, 5)
    assert cell.number_format == f'{number_format};[Red]-{number_format};"-"'


def test_every_sheet_is_explained_and_prints_on_a_landscape_page() -> None:
    for content in workbooks(settled(MONTH)):
        for sheet in opened(content).worksheets:
            assert sheet["A1"].value
            assert len(str(sheet["A2"].value)) > 40
            assert (sheet.page_setup.orientation, sheet.page_setup.fitToWidth) == ("landscape", None)
            assert sheet.page_setup.fitToHeight == 0
            if sheet.title not in ("Summary", "Proof"):
                assert sheet.freeze_panes == f"B{HEADING_ROW + 1}"


def test_the_proof_names_the_logs_size_and_root() -> None:
    for content in workbooks(settled(MONTH)):
        proof = [row[:2] for row in opened(content)["Proof"].iter_rows(values_only=True)]
        assert ("Log size", 40) in proof
        assert LOG_ROOT.hex() in [value for _, value in proof]


def test_equal_settlements_make_equal_workbooks_dated_at_the_windows_end() -> None:
    first, second = workbooks(settled(MONTH)), workbooks(settled(MONTH))
    assert first == second
    # Midnight in Berlin.
    assert opened(first[0]).properties.created == datetime.datetime(2026, 1, 31, 23, 0)  # noqa: DTZ001
