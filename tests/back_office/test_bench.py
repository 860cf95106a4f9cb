"""The bench as a user runs it: short, on few cards. What it measures is not asserted, only that it measures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer

from benchmarks.errors import BenchFailedError
from benchmarks.load import CallsMade
from benchmarks.measures import percentile_ms
from benchmarks.run import require_right
from benchmarks.settling import COUNTERPARTIES, FULL_MESH_BELOW, WINDOW, flows_to_settle, members_of
from benchmarks.verification import Verification
from clearing.log.merkle import EMPTY_ROOT
from clearing.model import Outcome
from settlement.v1.month_end import settle
from tests.back_office.installation import ROOT
from tests.waiting import PATIENCE_SECONDS, wait_until

NUMBER = (int, float)
SPEED = {"transactions_per_second": int, "p50_ms": NUMBER, "p99_ms": NUMBER}
KEYS: dict[str, Any] = {
    "limits": {"verify_per_second_per_core": int, "empty_unary_per_second": int, "copy_rows_per_second": int},
    "unary": SPEED | {"of_limit": NUMBER},
    "signed_singles": SPEED | {"of_limit": NUMBER},
    "signed_batches": SPEED,
    "two_merchants": {"transactions_per_second": int, "of_twenty_merchants": NUMBER},
    "grown": {"transactions": int, "of_fresh": NUMBER},
    "close_under_load": {"p99_ms_before": NUMBER, "p99_ms_during": NUMBER, "refused": int},
    "server_cpu_us_per_transaction": {"gateway": NUMBER, "postgres": NUMBER},
    "memory": {"gateway_max_rss_mib": int},
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the bench puts its database. Not pytest's own folder: root runs the server as another user."""
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as name:
        yield Path(name)


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The bench, in a group of its own; the settings of an installation must not touch it."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "CLEARING_DATABASE_URL": "postgresql+psycopg2://nobody@127.0.0.1:1/nothing",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "back_office.cli", "bench", "--directory", str(folder), *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process whose command line names the folder, which all of the bench's servers' do."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if any(str(folder) in text for text in (*(process.info["cmdline"] or ()), process.info["cwd"] or ""))
    ]


def test_bench_reports_every_key_and_leaves_nothing_behind(folder: Path) -> None:
    bench = started(folder, "--seconds", "0.2", "--cards", "300", "--grown", "--grown-transactions", "1000", "--json")
    output, messages = bench.communicate(timeout=2 * PATIENCE_SECONDS)
    assert bench.returncode == 0, messages
    report = json.loads(output)
    for name, parts in KEYS.items():
        for key, kind in parts.items():
            assert isinstance(report[name][key], kind), (name, key, report[name][key])
    assert report["books_balanced"] is True
    assert report["log_verified"] is True
    assert report["close_under_load"]["refused"] == 0
    assert report["close_under_load"]["entries"] > 0
    assert report["machine"]["fsync"] == "on"
    ledger = report["ledger"]
    assert ledger["outcomes"] == {"ACCEPTED": ledger["transactions_acknowledged"]}, "cards are funded for every burn"
    assert ledger["calls_failed"] == {}
    assert ledger["receipts_verified"] > 0
    assert list(folder.iterdir()) == []
    assert processes_of(folder) == []


def test_bench_interrupted_cleans_up(folder: Path) -> None:
    bench = started(folder)

    def is_served() -> bool:
        assert bench.poll() is None
        return any("gateway" in (process.info["cmdline"] or ()) for process in processes_of(folder))

    wait_until(is_served)
    os.killpg(bench.pid, signal.SIGINT)
    _, messages = bench.communicate(timeout=2 * PATIENCE_SECONDS)
    assert bench.returncode == 130, messages
    assert "Traceback" not in messages
    assert list(folder.iterdir()) == []
    assert processes_of(folder) == []


@pytest.mark.parametrize(
    ("verification", "acknowledged", "words"),
    [
        (Verification(("card X holds 1 point too many",), None, 9, Counter()), 0, "card X"),
        (Verification((), "entry 7: the rules say otherwise", 9, Counter()), 0, "entry 7"),
        (Verification((), None, 9, Counter({Outcome.ACCEPTED: 5})), 6, "only 5 are recorded"),
    ],
)
def test_figures_of_a_false_ledger_fail_the_bench(verification: Verification, acknowledged: int, words: str) -> None:
    with pytest.raises(BenchFailedError, match=words):
        require_right(verification, acknowledged)


@pytest.mark.parametrize(("share", "milliseconds"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_percentiles_are_latencies_that_occurred(share: float, milliseconds: float) -> None:
    latencies_s = [number / 1_000 for number in range(1, 101)]
    assert percentile_ms(latencies_s, share) == pytest.approx(milliseconds)


def test_calls_touch_a_stretch_of_time_they_overlap() -> None:
    made = CallsMade(((10.0, 4.0), (12.0, 1.0), (19.0, 9.5), (20.0, 1.0)), Counter(), 0, None)
    assert made.latencies_touching_s(9.0, 10.0) == [4.0, 9.5]
    assert made.latencies_s(10.0, 19.0) == [1.0, 9.5]
    assert made.last_answer_s(18.0) == 12.0


def test_settlements_are_measured_alone_by_their_numbers_of_members(folder: Path) -> None:
    bench = started(folder, "--members", "3,12", "--json")
    output, messages = bench.communicate(timeout=2 * PATIENCE_SECONDS)
    assert bench.returncode == 0, messages
    report = json.loads(output)
    assert report.keys() == {"settlement"}
    assert report["settlement"].keys() == {"3", "12"}
    assert all(isinstance(took, float) and took > 0 for took in report["settlement"].values())
    assert "PostgreSQL" not in messages
    assert list(folder.iterdir()) == []


def test_settlements_are_shown_as_a_table(folder: Path) -> None:
    bench = started(folder, "--members", "4")
    output, messages = bench.communicate(timeout=2 * PATIENCE_SECONDS)
    assert bench.returncode == 0, messages
    assert "counterparties each" in output
    assert "statements, digests and roots" in output


def test_members_of_a_settlement_are_numbers_that_can_be_settled() -> None:
    assert members_of("300,100,300") == (300, 100)
    for text in ("", "1", "10,", "many", "-5", "100000000", "٣٠"):
        with pytest.raises(typer.BadParameter, match="100,300,1000"):
            members_of(text)


@pytest.mark.parametrize(("members", "each"), [(3, 2), (8, 7), (FULL_MESH_BELOW, COUNTERPARTIES)])
def test_settlement_that_is_measured_is_whole(members: int, each: int) -> None:
    made = flows_to_settle(members)
    settlement = settle(made.directory, WINDOW, made.before, made.during, EMPTY_ROOT)
    assert len(settlement.merchants) == members
    for statement in settlement.merchants:
        owed_to = {one.creditor for one in statement.i_owe}
        assert len(owed_to) == each
        assert owed_to == {one.debtor for one in statement.i_am_owed}
    lines = [len(one.lines) for one in settlement.alliance.obligations if one.debtor != one.creditor]
    assert set(lines) == {2, 3}, "of members with a price of their own two months share one"
    assert len(settlement.alliance.payments) > 0
