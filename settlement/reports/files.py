"""The files of a settlement: each statement in three forms, under names that say what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from clearing.model import MerchantId
from clearing.whole_file import write_whole
from settlement.reports.alliance_workbook import alliance_workbook
from settlement.reports.merchant_workbook import merchant_workbook
from settlement.reports.report_csv import alliance_csv, merchant_csv
from settlement.v1.statements import MerchantStatement, Period, Settlement
from settlement.versions import SettlementRules, settlement_rules


class StatementFormat(IntEnum):
    """The form of a statement; numbers as in ``clearing.v1.StatementFormat``."""

    JSON = 1
    CSV = 2
    XLSX = 3


@dataclass(frozen=True, slots=True)
class StatementFile:
    """One statement in one form."""

    name: str
    """Such as ``alliance.json`` or ``merchant-bakery.xlsx``; unique in the window's folder."""
    content: bytes


def _rules(period: Period) -> SettlementRules:
    """JSON is the form whose digests stand in the log, so it is the version's; the others may change."""
    return settlement_rules(period.settlement_version)


_OF_ALLIANCE: Mapping[StatementFormat, Callable[[Settlement], bytes]] = {
    StatementFormat.JSON: lambda settlement: _rules(settlement.period).alliance_json(settlement),
    StatementFormat.CSV: alliance_csv,
    StatementFormat.XLSX: alliance_workbook,
}
_OF_MERCHANT: Mapping[StatementFormat, Callable[[MerchantStatement], bytes]] = {
    StatementFormat.JSON: lambda statement: _rules(statement.period).merchant_json(statement),
    StatementFormat.CSV: merchant_csv,
    StatementFormat.XLSX: merchant_workbook,
}


def statement_file_name(merchant: MerchantId | None, form: StatementFormat) -> str:
    """The file's name in the window's folder, such as ``merchant-bakery.json``; with None the alliance's."""
    return f"{'alliance' if merchant is None else f'merchant-{merchant}'}.{form.name.lower()}"


def statement_file(settlement: Settlement, merchant: MerchantId | None, form: StatementFormat) -> StatementFile:
    """The statement of ``merchant``, or with None the alliance's.

    Raises ``NoSuchStatementError`` if the merchant was not a member when the window closed.
    """
    if merchant is None:
        content = _OF_ALLIANCE[form](settlement)
    else:
        content = _OF_MERCHANT[form](settlement.statement_of(merchant))
    return StatementFile(statement_file_name(merchant, form), content)


def statement_files(settlement: Settlement) -> Iterator[StatementFile]:
    """All files: the alliance's, then each merchant's, in each form."""
    for merchant in (None, *(statement.merchant for statement in settlement.merchants)):
        for form in StatementFormat:
            yield statement_file(settlement, merchant, form)


def write_statements(settlement: Settlement, directory: Path) -> tuple[Path, ...]:
    """Write all files into a folder of ``directory`` named for the window, and return their paths.

    A file that is there already is replaced; a reader sees the old one or the new one, never a part.
    Raises ``OSError`` if the folder cannot be made or written.
    """
    folder = directory / settlement.period.window
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_written(folder / file.name, file.content) for file in statement_files(settlement))


def _written(path: Path, content: bytes) -> Path:
    write_whole(path, content, durable=True)
    return path
