"""How a workbook looks: sheets with a title, a line that explains them, and a table with real numbers and totals.

Numbers are written from exact decimals, without passing through floats. A spreadsheet itself keeps about 15 digits; the
JSON file is the exact one. Totals are formulas and carry the value computed here, so they are right also
where nothing recalculates them, such as in a preview.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import xlsxwriter  # type: ignore[import-untyped]
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from settlement.reports.workbook_styles import Kind, Styles, Use
from settlement.v1.money import decimal_text, exact_arithmetic

_TITLE_ROW = 0
_EXPLANATION_ROW = 1
_HEADING_ROW = 3
_FIRST_ROW = 4

_WIDTH_MIN_CHARACTERS = 90
"""A line of explanation is at least this wide, however narrow the table below it."""
_FACT_WIDTHS = (34, 22, 78)
"""Label, value, note."""
_LINE_HEIGHT_POINTS = 15
_PAPER_A4 = 9


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    heading: str
    kind: Kind
    width: int
    """In characters."""
    total: bool = False
    """Whether the last row adds it up."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula, and its value."""

    text: str
    """``{row}`` stands for the number of its row, ``{first}`` and ``{last}`` for the table's first and last row."""
    value: int | Decimal


Cell = str | int | Decimal | datetime.date | Formula | None


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a sheet of facts."""

    label: str
    value: Cell
    kind: Kind = Kind.TEXT
    note: str = ""
    result: bool = False
    """Bold under a rule; in a formula, ``{first}`` and ``{last}`` are the rows of its section above it."""


class Book:
    """A workbook in the making. The same input gives the same bytes."""

    def __init__(self, title: str, created: datetime.datetime, decimals: int, places: tuple[int, int]) -> None:
        """``decimals`` are the currency's, ``places`` those shown of exact amounts and of prices."""
        self._file = io.BytesIO()
        self._book = xlsxwriter.Workbook(self._file, {"in_memory": True})
        # Otherwise the moment of writing would be in the file, and no two writings the same.
        self._book.set_properties({"title": title, "created": created})
        self._styles = Styles(self._book, decimals, places)
        self._footer = f"&L{title}&C&A&RPage &P of &N"

    def table(
        self, name: str, title: str, explanation: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]]
    ) -> None:
        """Add a sheet with one table: frozen heading and first column, and a row of totals where columns have them."""
        rows = list(rows)
        sheet = self._sheet(name, title, explanation, [column.width for column in columns])
        for number, column in enumerate(columns):
            sheet.write_string(_HEADING_ROW, number, column.heading, self._styles.heading(column.kind))
        lines = max((_lines(column.heading, column.width) for column in columns), default=1)
        sheet.set_row(_HEADING_ROW, _LINE_HEIGHT_POINTS * lines + 3)
        sheet.freeze_panes(_FIRST_ROW, 1)
        sheet.repeat_rows(_HEADING_ROW)
        bounds = (_FIRST_ROW + 1, _FIRST_ROW + len(rows))
        for place, cells in enumerate(rows, _FIRST_ROW):
            for number, (column, cell) in enumerate(zip(columns, cells, strict=True)):
                self._write(sheet, (place, number), cell, self._styles.cell(column.kind, Use.ROW), bounds)
        if rows and any(column.total for column in columns):
            self._totals(sheet, columns, rows, bounds)
        elif not rows:
            sheet.write_string(_FIRST_ROW, 0, "None in this window.", self._styles.label)

    def facts(self, name: str, title: str, explanation: str, sections: Iterable[tuple[str, Sequence[Fact]]]) -> None:
        """Add a sheet with named facts, under headings, each with a note."""
        sheet = self._sheet(name, title, explanation, _FACT_WIDTHS)
        row = _HEADING_ROW
        for heading, entries in sections:
            for column in range(3):
                sheet.write_string(row, column, heading if column == 0 else "", self._styles.section)
            for place, fact in enumerate(entries, row + 1):
                sheet.write_string(place, 0, fact.label, self._styles.label)
                form = self._styles.cell(fact.kind, Use.TOTAL if fact.result else Use.FACT)
                self._write(sheet, (place, 1), fact.value, form, (row + 2, place))
                # Long text runs on into the note's column instead.
                if fact.note:
                    sheet.write_string(place, 2, fact.note, self._styles.note)
            row += len(entries) + 2

    def content(self) -> bytes:
        """The finished file."""
        self._book.close()
        return self._file.getvalue()

    def _sheet(self, name: str, title: str, explanation: str, widths: Sequence[int]) -> xlsxwriter.worksheet.Worksheet:
        sheet = self._book.add_worksheet(name)
        sheet.hide_gridlines(2)
        sheet.set_landscape()
        sheet.set_paper(_PAPER_A4)
        sheet.fit_to_pages(1, 0)
        sheet.set_footer(self._footer)
        for number, width in enumerate(widths):
            sheet.set_column(number, number, width)
        width, last_column = sum(widths), len(widths) - 1
        while width < _WIDTH_MIN_CHARACTERS:
            width, last_column = width + 8, last_column + 1
        sheet.write_string(_TITLE_ROW, 0, title, self._styles.title)
        sheet.set_row(_TITLE_ROW, 24)
        sheet.merge_range(_EXPLANATION_ROW, 0, _EXPLANATION_ROW, last_column, "", self._styles.explanation)
        sheet.write_string(_EXPLANATION_ROW, 0, explanation, self._styles.explanation)
        sheet.set_row(_EXPLANATION_ROW, _LINE_HEIGHT_POINTS * _lines(explanation, width) + 3)
        return sheet

    def _totals(
        self,
        sheet: xlsxwriter.worksheet.Worksheet,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Cell]],
        bounds: tuple[int, int],
    ) -> None:
        row = _FIRST_ROW + len(rows)
        for number, column in enumerate(columns):
            cell: Cell = "Total" if number == 0 else None
            if column.total:
                letter = column_letter(number)
                with exact_arithmetic():
                    value = sum((_value(cells[number]) for cells in rows), Decimal(0))
                cell = Formula(f"=SUM({letter}{{first}}:{letter}{{last}})", value)
            self._write(sheet, (row, number), cell, self._styles.cell(column.kind, Use.TOTAL), bounds)

    def _write(
        self,
        sheet: xlsxwriter.worksheet.Worksheet,
        place: tuple[int, int],
        cell: Cell,
        form: xlsxwriter.format.Format,
        bounds: tuple[int, int],
    ) -> None:
        if cell is None:
            sheet.write_blank(*place, None, form)
        elif isinstance(cell, str):
            # Never as anything but text: a legal name that begins with an equals sign is not a formula.
            sheet.write_string(*place, cell, form)
        elif isinstance(cell, datetime.date):
            sheet.write_datetime(*place, cell, form)
        elif isinstance(cell, Formula):
            text = cell.text.format(row=place[0] + 1, first=bounds[0], last=bounds[1])
            sheet.write_formula(*place, text, form, Decimal(decimal_text(Decimal(cell.value))))
        else:
            sheet.write_number(*place, cell, form)


def _lines(text: str, width: int) -> int:
    """Lines that a text takes in so many characters; one more where words may not fill them."""
    return 1 if len(text) <= width else -(-len(text) // max(1, width - 5))


def column_letter(number: int) -> str:
    """The letter of a column, for formulas; 0 is A."""
    return str(xl_col_to_name(number))


def _value(cell: Cell) -> Decimal:
    if isinstance(cell, Formula):
        cell = cell.value
    assert isinstance(cell, int | Decimal), "only numbers are added up"
    return Decimal(cell)
