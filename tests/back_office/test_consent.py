"""What is asked before it is done: breakage is shown and booked, a settlement's payments are shown and approved."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from back_office.client import home as home_folder
from clearing.signing.key_files import write_private_key
from tests.back_office.installation import Installation
from tests.integration.alliance import Alliance, founded
from tests.integration.test_audit import settle
from tests.waiting import PATIENCE_SECONDS


@dataclass(frozen=True)
class Office:
    """An alliance in whose March two cards hold points that ended with February, and its operator's machine."""

    alliance: Alliance
    machine: Installation


@pytest.fixture
def office(database_url: str, home: Path) -> Iterator[Office]:
    with founded(database_url, lot_lifetime_months=1) as alliance:
        alliance.admit("bakery", "cinema")
        first, second = (alliance.open_card("bakery") for _ in range(2))
        alliance.earn("bakery", first, 150)
        alliance.earn("bakery", second, 20)
        alliance.earn("cinema", second, 30)
        alliance.burn("cinema", second, 27)
        alliance.travel("2026-03-02 10:00:00")
        alliance.open_card("cinema")
        folder = home_folder.Home(home)
        folder.make_folders()
        folder.write_alliance(alliance.identity)
        # Another person's than who proposes: nobody approves alone what they proposed.
        write_private_key(folder.key_file("operator", "anna"), alliance.second_operator)
        yield Office(alliance, Installation(home, alliance.gateway.server.address))


def answered(installation: Installation, answer: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command at a terminal, at which somebody types this."""
    ours, its = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        return subprocess.run(
            [sys.executable, "-m", "back_office.cli", *map(str, arguments)],
            env=installation.environment(),
            stdin=its,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    finally:
        os.close(its)
        os.close(ours)


def rows_of(text: str) -> list[list[str]]:
    """The rows of the tables."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]


def test_points_past_their_last_day_are_shown_asked_about_and_booked_once(office: Office) -> None:
    shown = office.machine.done("expire", "--preview")
    assert "Points past their last day on 2026-03-02" in shown
    assert rows_of(shown) == [
        ["2026-02-28", "bakery", "1", "150"],
        ["2026-02-28", "cinema", "1", "23"],
        ["all", "", "2", "173"],
    ]
    size = office.alliance.log_size()
    refused = answered(office.machine, "n", "expire")
    assert refused.returncode == 1
    assert "Book these points as expired? [y/N]" in refused.stderr
    assert office.alliance.log_size() == size, "neither a preview nor a no books anything"

    agreed = answered(office.machine, "y", "expire", "--json")
    assert agreed.returncode == 0, agreed.stderr
    booked = json.loads(agreed.stdout)
    assert booked["points_booked"] == 173
    assert booked["lots"] == [
        {"expires_on": "2026-02-28", "issuer": "bakery", "cards": 1, "points": 150},
        {"expires_on": "2026-02-28", "issuer": "cinema", "cards": 1, "points": 23},
    ]
    assert [(each["entry_index"], each["points_expired"]) for each in booked["booked"]] == [(size, 173)]
    assert "no card holds points past their last day" in office.machine.done("expire")

    office.alliance.travel("2026-04-01 00:00:00")
    for window in ("2026-01", "2026-02", "2026-03"):
        settle(office.alliance, window)
    points = {each["issuer"]: each["expired"]["net"] for each in office.alliance.statement("2026-03")["points"]}
    assert points == {"bakery": 150, "cinema": 23}


def test_without_anybody_at_a_terminal_it_is_booked_at_once(office: Office) -> None:
    size = office.alliance.log_size()
    done = office.machine.done("expire")
    assert f"173 points are booked as expired, in entry {size}; the statements of 2026-03 will show them." in done


def test_a_settlement_is_approved_only_after_its_payments_were_shown_and_agreed_to(office: Office) -> None:
    settle(office.alliance, "2026-01")
    size = office.alliance.log_size()
    refused = answered(office.machine, "n", "window", "approve", "2026-01")
    assert refused.returncode == 1
    # 20 points of the bakery at 0.0090 EUR, burned first: all of them expire on the same day.
    assert ["bakery", "cinema", "0.18"] in rows_of(refused.stdout)
    assert "Approve the settlement of 2026-01? [y/N]" in refused.stderr
    assert office.alliance.log_size() == size

    agreed = answered(office.machine, "y", "window", "approve", "2026-01")
    assert (agreed.returncode, "is approved" in agreed.stdout) == (0, True)
    assert office.alliance.log_size() == size + 1
