"""How an alliance stands, and the machine's time zone data beside what is logged."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zoneinfo
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from back_office.client.offset_correction import correction
from back_office.client.status import offset_status
from clearing.calendar import LocalCalendar
from clearing.model import Instant, OffsetChange
from clearing.rules.offsets import corrected
from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation
from tests.zones import NEW_YEAR_2016, calendar_of

BERLIN = "Europe/Berlin"


def zone_file(name: str) -> Path:
    """Where this machine has a zone's data."""
    for folder in zoneinfo.TZPATH:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    return Path(str(files("tzdata"))) / "zoneinfo" / name


@pytest.fixture
def other_data(tmp_path: Path) -> Path:
    """A folder of time zone data by which Berlin's clocks are Moscow's: three hours ahead, without summer time."""
    altered = tmp_path / "zoneinfo" / BERLIN
    altered.parent.mkdir(parents=True)
    shutil.copy(zone_file("Europe/Moscow"), altered)
    return tmp_path / "zoneinfo"


@pytest.fixture
def berlin(installation: Installation) -> Iterator[Installation]:
    """An alliance in Berlin, in whose month's last hours and next month's first ones something was accepted."""
    installation.done(
        "init", ORIGIN, "--clock", "presented", "--at", "2026-01-31T21:30", "--time-zone", BERLIN, "--notice-days", "0"
    )
    with installation.serving():
        installation.done("merchant", "admit", "bakery", "--name", "Bakery Ltd", "--at", "2026-01-31T22:30")
        installation.done("merchant", "admit", "cinema", "--name", "Cinema Ltd", "--at", "2026-02-01T00:30")
        yield installation


def test_an_audit_under_other_time_zone_data_comes_to_the_same(
    berlin: Installation, other_data: Path, tmp_path: Path
) -> None:
    berlin.done("window", "close", "2026-01", "--at", "2026-02-01T00:45")
    elsewhere = dataclasses.replace(berlin, settings={"PYTHONTZPATH": str(other_data)})

    berlin.done("audit", "export", tmp_path / "export")
    public = ("--key", berlin.home / "alliance.json")
    verified = [each.json("audit", "verify", tmp_path / "export", *public) for each in (berlin, elsewhere)]

    assert verified[0] == verified[1]
    (january, _) = elsewhere.json("window", "list")
    assert (january["window"], january["first_index"], january["end_index"]) == ("2026-01", 0, 2)


def test_status_says_what_needs_attention_and_what_to_sign(berlin: Installation, other_data: Path) -> None:
    assert "Nothing needs attention." in berlin.done("status")
    assert berlin.json("status")["attention"] == []

    elsewhere = dataclasses.replace(berlin, settings={"PYTHONTZPATH": str(other_data)})
    result = elsewhere.run("status", "--json")
    assert result.returncode == 3
    found = json.loads(result.stdout)
    assert found["gateway"]["serving"] is True
    assert found["offsets"]["first_difference"] == {
        "at": found["ledger"]["accepted_at"],
        "logged_minutes": 60,
        "machine_minutes": 180,
    }
    (attention,) = found["attention"]
    assert "log says +01:00" in attention
    assert "clearing alliance offsets" in attention


def test_the_machines_offsets_are_signed_and_then_nothing_differs_any_more(
    berlin: Installation, other_data: Path
) -> None:
    elsewhere = dataclasses.replace(berlin, settings={"PYTHONTZPATH": str(other_data)})

    assert "nothing is to be signed" in berlin.done("alliance", "offsets")
    assert "+03:00" in elsewhere.done("alliance", "offsets")
    elsewhere.done("merchant", "admit", "toys", "--name", "Toys Ltd", "--at", "2026-02-03T12:00")
    assert elsewhere.json("status")["attention"] == []
    assert elsewhere.json("status")["ledger"]["local_time"] == "2026-02-03T12:00:00+03:00"


def test_status_says_so_where_no_gateway_answers(installation: Installation) -> None:
    installation.done("init", ORIGIN)
    result = installation.run("status", "--json")
    assert result.returncode == 3
    assert json.loads(result.stdout)["gateway"]["serving"] is False


def test_two_years_before_the_logged_offsets_end_it_is_said() -> None:
    logged = calendar_of(BERLIN)
    end = logged.offsets.known_until
    day = 86_400_000_000
    assert offset_status(logged, BERLIN, Instant(end - 731 * day)).attention == ()
    (said,) = offset_status(logged, BERLIN, Instant(end - 729 * day)).attention
    assert "are logged until" in said


def test_a_correction_keeps_what_was_right_and_begins_where_the_difference_does() -> None:
    right = calendar_of(BERLIN)
    # As if summer time were abolished from 2020 on, and the log's writers had believed it.
    kept = tuple(change for change in right.offsets.changes if change.at < Instant(1_577_836_800_000_000))
    wrong = LocalCalendar(dataclasses.replace(right.offsets, changes=kept))

    found = correction(wrong, BERLIN, NEW_YEAR_2016)

    assert found is not None
    assert found.difference is not None
    mended = LocalCalendar(corrected(wrong.offsets, found.action))
    assert mended == right
    assert found.action.effective_from == found.difference.at == right.offsets.changes[len(kept)].at
    assert correction(mended, BERLIN, NEW_YEAR_2016) is None


def test_a_correction_of_what_differs_already_begins_two_days_ahead() -> None:
    moscow = LocalCalendar(dataclasses.replace(calendar_of(BERLIN).offsets, offset_minutes=180))

    found = correction(moscow, BERLIN, NEW_YEAR_2016)

    assert found is not None
    assert found.action.effective_from == NEW_YEAR_2016 + 2 * 86_400_000_000
    assert found.action.changes[0] == OffsetChange(found.action.effective_from, 60)
