"""What the cells of a workbook look like: number formats, colours, rules."""

from __future__ import annotations

from enum import Enum, auto

import xlsxwriter  # type: ignore[import-untyped]

_BLUE = "#1F3864"
_PALE_BLUE = "#DCE6F1"
_GREY = "#595959"
_PALE_GREY = "#D9D9D9"

_THIN = 1
_DOUBLE = 6


class Kind(Enum):
    """What a column holds, and so how it is shown."""

    TEXT = auto()
    CODE = auto()
    """Text in a fixed-width font: hashes."""
    COUNT = auto()
    """A whole number."""
    POINTS = auto()
    MONEY = auto()
    """Major units with the currency's decimals."""
    EXACT = auto()
    """Major units before rounding, and what rounding left over."""
    PRICE = auto()
    """Major units a point."""
    DAY = auto()


_ALIGNED_LEFT = (Kind.TEXT, Kind.CODE, Kind.DAY)


class Use(Enum):
    """Where a cell stands."""

    ROW = auto()
    """In a table: nil is a dash, so that full cells stand out."""
    FACT = auto()
    """Beside a label."""
    TOTAL = auto()
    """A result: bold between rules."""


_BORDERS: dict[Use, dict[str, object]] = {
    Use.ROW: {"bottom": _THIN, "bottom_color": _PALE_GREY},
    Use.FACT: {},
    Use.TOTAL: {"bold": True, "top": _THIN, "bottom": _DOUBLE},
}


class Styles:
    """The formats of one workbook."""

    def __init__(self, book: xlsxwriter.Workbook, decimals: int, places: tuple[int, int]) -> None:
        """``decimals`` are the currency's, ``places`` those shown of exact amounts and of prices."""
        numbers = {
            Kind.POINTS: 0,
            Kind.MONEY: decimals,
            Kind.EXACT: max(decimals, places[0]),
            Kind.PRICE: max(decimals, places[1]),
        }
        others = {Kind.TEXT: "@", Kind.CODE: "@", Kind.COUNT: "#,##0", Kind.DAY: "yyyy-mm-dd"}
        self._cells = {
            (kind, use): book.add_format(
                {
                    "num_format": _signed(numbers[kind], dash=use is Use.ROW) if kind in numbers else others[kind],
                    "align": _alignment(kind),
                    "font_name": "Courier New" if kind is Kind.CODE else "Calibri",
                    **_BORDERS[use],
                }
            )
            for kind in Kind
            for use in Use
        }
        self._headings = {
            align: book.add_format(
                {
                    "bold": True,
                    "bg_color": _PALE_BLUE,
                    "bottom": _THIN,
                    "text_wrap": True,
                    "valign": "vcenter",
                    "align": align,
                }
            )
            for align in ("left", "right")
        }
        self.title = book.add_format({"bold": True, "font_size": 16, "font_color": _BLUE})
        self.explanation = book.add_format({"italic": True, "font_color": _GREY, "text_wrap": True, "valign": "top"})
        self.section = book.add_format({"bold": True, "bg_color": _PALE_BLUE, "bottom": _THIN})
        self.label = book.add_format({"num_format": "@"})
        self.note = book.add_format({"font_color": _GREY, "align": "left", "indent": 2})

    def cell(self, kind: Kind, use: Use) -> xlsxwriter.format.Format:
        """The format of a cell that holds such a thing and stands there."""
        return self._cells[kind, use]

    def heading(self, kind: Kind) -> xlsxwriter.format.Format:
        """The format of a column's heading, aligned as the column."""
        return self._headings[_alignment(kind)]


def _alignment(kind: Kind) -> str:
    return "left" if kind in _ALIGNED_LEFT else "right"


def _signed(places: int, dash: bool) -> str:
    """Thousands separated, negative numbers red; with ``dash`` nil is a dash."""
    number = "#,##0" + ("." + "0" * places if places else "")
    return f'{number};[Red]-{number};"-"' if dash else f"{number};[Red]-{number}"
