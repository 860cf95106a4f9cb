"""The statement files: their names, their folder, and that nobody ever sees half of one."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from clearing.model import MerchantId
from settlement.reports.files import StatementFormat, statement_file, statement_file_name, write_statements
from settlement.v1.errors import NoSuchStatementError
from settlement.v1.report_json import alliance_json
from tests.settlement.scenario import MERCHANTS, settled
from tests.settlement.test_reports import MONTH

A, B, C, D = MERCHANTS


def test_all_statements_are_written_in_all_forms_in_the_windows_folder(tmp_path: Path) -> None:
    settlement = settled(MONTH)
    paths = write_statements(settlement, tmp_path / "statements")
    expected = [
        f"{who}.{form}" for who in ("alliance", *(f"merchant-{m}" for m in "abcd")) for form in ("json", "csv", "xlsx")
    ]
    assert [path.name for path in paths] == expected
    assert {path.parent for path in paths} == {tmp_path / "statements" / "2026-01"}
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(expected)
    assert paths[0].read_bytes() == alliance_json(settlement)
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o644


def test_writing_again_replaces_what_is_there(tmp_path: Path) -> None:
    write_statements(settled(""), tmp_path)
    paths = write_statements(settled(MONTH), tmp_path)
    assert json.loads(paths[0].read_bytes())["payments"]
    assert len(list(paths[0].parent.iterdir())) == len(paths)


def test_a_file_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    in_the_way = tmp_path / "2026-01" / "alliance.json"
    in_the_way.mkdir(parents=True)
    with pytest.raises(OSError, match=r"alliance\.json"):
        write_statements(settled(MONTH), tmp_path)
    assert list(in_the_way.parent.iterdir()) == [in_the_way]


def test_one_statement_can_be_had_without_a_folder() -> None:
    settlement = settled(MONTH)
    file = statement_file(settlement, A, StatementFormat.JSON)
    assert file.name == statement_file_name(A, StatementFormat.JSON) == "merchant-a.json"
    assert json.loads(file.content)["merchant"]["id"] == "a"
    assert statement_file(settlement, None, StatementFormat.XLSX).content.startswith(b"PK")
    assert statement_file_name(None, StatementFormat.CSV) == "alliance.csv"


def test_a_stranger_has_no_statement() -> None:
    with pytest.raises(NoSuchStatementError):
        statement_file(settled(MONTH), MerchantId("stranger"), StatementFormat.CSV)
