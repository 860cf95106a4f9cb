"""An alliance's first month by the command alone, on the embedded PostgreSQL, from the founding to the last payment."""

import csv
import gzip
import hashlib
import json
import signal
import zipfile
from pathlib import Path

from clearing.v1.operations_pb2 import GetAllianceRequest
from merchant_gateway.client.gateway_channel import GatewayChannel
from merchant_gateway.client.outbox.outbox import LATE_PRESENTMENT_DAYS_UNTIL_KNOWN
from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation, stop

BASKETS = """basket_id,household_id,store_id,purchased_at,amount,coupon_discount
1,h1,b-1,2026-01-05T10:00:00,150.00,0.00
2,h1,c-1,2026-01-06T10:00:00,80.00,0.00
3,h2,c-1,2026-01-07T10:00:00,80.00,1.00
"""
"""h1 has 230 points on the second day and burns 200 of them at the cinema: all 150 of the bakery and 50 of its own."""


def test_a_month_from_the_founding_to_the_last_payment(installation: Installation, tmp_path: Path) -> None:
    founding = installation.json(
        "init", ORIGIN, "--clock", "presented", "--at", "2026-01-01T00:00", "--time-zone", "Europe/Berlin"
    )
    assert founding["log_verifier"].startswith(f"{ORIGIN}+")
    assert founding["accepted_at"] == "2025-12-31T23:00:00Z"
    assert "founded in this database already" in installation.refused("init", ORIGIN)

    (tmp_path / "merchants.csv").write_text("merchant,legal_name\nbakery,Bakery Ltd\ncinema,Cinema Ltd\n")
    (tmp_path / "stores.csv").write_text("store_id,merchant\nb-1,bakery\nc-1,cinema\n")
    baskets = tmp_path / "baskets.csv.gz"
    baskets.write_bytes(gzip.compress(BASKETS.encode()))
    with_stores = ("--stores", tmp_path / "stores.csv")
    finance = ("--key", installation.home / "keys" / "finance-carla.pem")

    with installation.serving() as gateway:
        _set_up(installation, tmp_path, baskets)
        with GatewayChannel(installation.address, ORIGIN) as channel:
            constitution = channel.call(channel.operations.GetAlliance, GetAllianceRequest()).constitution
        assert constitution.late_presentment_days == LATE_PRESENTMENT_DAYS_UNTIL_KNOWN == 7

        first = installation.json("submit", baskets, *with_stores)
        assert (first["points_issued"], first["points_redeemed"], first["replayed"]) == (310, 200, 0)
        again = installation.json("submit", baskets, *with_stores)
        assert again["replayed"] == again["transactions"] == first["transactions"] == 6
        assert {**again, "replayed": 0, "seconds": 0} == {**first, "replayed": 0, "seconds": 0}

        assert "no window 2026-02" in installation.refused("window", "close", "2026-02")
        closed = installation.json("window", "close", "2026-01")
        assert [each["outcome"] for each in closed] == ["ACCEPTED", "ACCEPTED"]
        assert closed[0]["accepted_at"] == "2026-01-31T23:00:00Z"
        assert "nothing is left to close" in installation.done("window", "close", "2026-01", *finance)

        shown = installation.done("window", "show", "2026-01", *finance)
        assert "each line owes each column" in shown
        assert _cells(shown, "bakery", 3) == ["bakery", "·", "1.35"]
        assert _cells(shown, "cinema", 4) == ["cinema", "0.00", "1.35", "1.35"]
        statement = installation.json("window", "show", "2026-01", *finance)["statement"]
        assert statement["payments"] == [{"payer": "bakery", "payee": "cinema", "amount": "1.35", "amount_minor": 135}]
        bakery = ("--key", installation.home / "keys" / "merchant-bakery.pem")
        own = installation.json("window", "show", "2026-01", *bakery)["statement"]
        assert own["merchant"] == {"id": "bakery", "legal_name": "Bakery Ltd"}

        digest = installation.json("window", "list")[0]["alliance_statement_sha256"]
        assert digest in installation.refused("window", "approve", "2026-01", "--digest", "00" * 32, *finance)
        assert "not approved yet" in installation.refused(
            "window", "pay", "2026-01", "bakery", "cinema", "--paid-on", "2026-02-03", "--bank-reference", "X", *finance
        )
        approved = installation.done("window", "approve", "2026-01", "--digest", digest, *finance)
        assert _cells(approved, "bakery", 3) == ["bakery", "cinema", "1.35"]
        assert digest in approved
        assert "The settlement of 2026-01 is approved." in approved
        paid = ("window", "pay", "2026-01", "--all", "--paid-on", "2026-02-03", "--bank-reference", "X", *finance)
        assert [each["outcome"] for each in installation.json(*paid)] == ["ACCEPTED"]
        for payment_again in (paid, (*paid[:4], "--paid-on", "2026-02-04", "--bank-reference", "Y", *finance)):
            assert "are recorded: 0 now, 1 before, which stay as they are." in installation.done(*payment_again)
        assert installation.json("window", "list")[0]["status"] == "settled"

        _check_statement_files(installation, tmp_path, digest)
        assert stop(gateway, signal.SIGINT) == 0
    assert "no gateway answers" in installation.refused("merchant", "list")


def _set_up(installation: Installation, folder: Path, baskets: Path) -> None:
    """Two merchants with their keys and stores, and a finance officer; each step twice, as an interrupted one is."""
    members = ("merchant", "import", folder / "merchants.csv")
    assert installation.json(*members) == {"admitted": 2, "admitted_before": 0}
    assert installation.json(*members) == {"admitted": 0, "admitted_before": 2}
    stores = ("store", "import", baskets, "--stores", folder / "stores.csv")
    assert installation.json(*stores) == {"opened": 2, "open_before": 0}
    assert installation.json(*stores) == {"opened": 0, "open_before": 2}
    key = ("key", "register", "--role", "merchant", "--merchant", "bakery", "--new")
    assert [installation.json(*key)["replayed"] for _ in range(2)] == [False, True]
    assert "there is no key of cinema" in installation.refused("submit", baskets, "--stores", folder / "stores.csv")
    installation.done("key", "register", "--role", "merchant", "--merchant", "cinema", "--new")
    installation.done("key", "register", "--role", "finance", "--holder", "carla", "--new")
    assert installation.json("merchant", "list")[0] == {
        "merchant": "bakery",
        "legal_name": "Bakery Ltd",
        "stores": ["b-1"],
    }
    assert installation.json("store", "list") == [
        {"store": "b-1", "merchant": "bakery"},
        {"store": "c-1", "merchant": "cinema"},
    ]


def _check_statement_files(installation: Installation, folder: Path, digest: str) -> None:
    files = installation.json("statement", "2026-01", "--output", folder)
    paths = [Path(each["file"]) for each in files]
    assert [path.name for path in paths] == ["alliance.json", "alliance.csv", "alliance.xlsx"]
    assert hashlib.sha256(paths[0].read_bytes()).hexdigest() == files[0]["sha256"] == digest
    entry = files[0]["recorded_in_entry"]
    assert [each["recorded_in_entry"] for each in files[1:]] == [None, None]
    own = ("statement", "2026-01", "--output", folder, "--key", installation.home / "keys" / "merchant-cinema.pem")
    printed = installation.done(*own)
    assert f"merchant-cinema.json: digest as recorded in entry {entry} of the log, verified." in printed
    proof, leaf = (folder / "2026-01" / f"entry-{entry}.{suffix}" for suffix in ("tlog-proof", "bin"))
    assert str(proof) in printed
    public = ("--key", installation.home / "alliance.json")
    assert f"Proved: entry {entry} of {ORIGIN}" in installation.done("audit", "check", proof, leaf, *public)
    assert json.loads(paths[0].read_bytes())["window"]["id"] == "2026-01"
    assert list(csv.reader(paths[1].read_text(encoding="utf-8-sig").splitlines()))
    assert zipfile.ZipFile(paths[2]).testzip() is None


def _cells(text: str, name: str, count: int) -> list[str]:
    """The cells of the table's row that begins with this name and has so many."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return next(row for row in rows if row[0] == name and len(row) == count)
