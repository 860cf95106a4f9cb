"""Nine months of real shopping baskets through the running gateway, against plain sums over the file.

The baskets are not part of the project: the test runs where the file lies beside it or ``BASKETS`` names it, and is
skipped elsewhere.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest

from clearing.calendar import first_day, next_window
from clearing.model import MerchantId, Points, WindowId
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, settlement_pb2
from merchant_gateway.client.baskets.submission import submit_baskets
from merchant_gateway.client.baskets.summary import BasketSummary
from merchant_gateway.client.baskets.waves import BasketRules
from merchant_gateway.client.connection import MerchantConnection
from settlement.auditing.audit import verify_export
from tests.integration.alliance import Alliance, founded

BASKETS = Path(os.environ.get("BASKETS", "../shared/data/baskets-2017-01-to-09.csv.gz"))
MERCHANTS = [
    "bakery", "bookshop", "cafe", "cinema", "florist", "fuel",
    "grocer", "hotel", "pharmacy", "restaurant", "shoes", "toys",
]  # fmt: skip
MONTHS = [f"2017-{month:02d}" for month in range(1, 10)]
POINTS_PER_UNIT = 10
BURN_AT = 200
PRICE = Decimal("0.0090")

pytestmark = pytest.mark.skipif(not BASKETS.exists(), reason=f"{BASKETS} is not there")


# ---- the plain sums: nothing of ours is imported for them ----


def merchant_of(store: str) -> str:
    number = int.from_bytes(hashlib.sha256(store.encode()).digest()[:8], "big")
    return MERCHANTS[number % len(MERCHANTS)]


class PlainSums:
    """Points issued and redeemed, and net money, by month and merchant, straight from the file."""

    def __init__(self) -> None:
        self.issued: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.redeemed: defaultdict[tuple[str, str], int] = defaultdict(int)
        owed: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        lots: defaultdict[str, defaultdict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
        with gzip.open(BASKETS, "rt", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["purchased_at"])
        for row in rows:
            month, merchant = row["purchased_at"][:7], merchant_of(row["store_id"])
            points = int(Decimal(row["amount"]) * POINTS_PER_UNIT)
            card = lots[row["household_id"]]
            card[month, merchant] += points
            self.issued[month, merchant] += points
            if points and sum(card.values()) >= BURN_AT:
                self.redeemed[month, merchant] += BURN_AT
                left = BURN_AT
                for lot in sorted(card):  # what was earned in an earlier month expires earlier; then by issuer
                    share = min(card[lot], left)
                    card[lot] -= share
                    left -= share
                    owed[month, lot[1], merchant] += share
        self.net: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for (month, issuer, redeemer), points in owed.items():
            if issuer != redeemer:
                amount = (points * PRICE).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
                self.net[month, issuer] -= amount
                self.net[month, redeemer] += amount


# ---- the same through the gateway ----


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(
        database_url, founded_at="2017-01-01 00:00:00", lot_lifetime_months=24, redemption_price=str(PRICE)
    ) as an_alliance:
        an_alliance.admit(*MERCHANTS)
        with gzip.open(BASKETS, "rt", newline="") as file:
            stores = sorted({row["store_id"] for row in csv.DictReader(file)})
        for store in stores:
            an_alliance.accept(open_store=instruction_pb2.OpenStore(merchant=merchant_of(store), store=store))
        yield an_alliance


def submit(alliance: Alliance) -> BasketSummary:
    keys: dict[MerchantId, PrivateKey] = {MerchantId(merchant): alliance.keys[merchant] for merchant in MERCHANTS}
    rules = BasketRules(Decimal(POINTS_PER_UNIT), Points(BURN_AT))
    with MerchantConnection(alliance.gateway.server.address, alliance.identity) as connection:
        return submit_baskets(BASKETS, connection, keys, rules, b"a secret of the test, 32 bytes.")


def close(alliance: Alliance, month: str) -> settlement_pb2.GetSettlementResponse:
    alliance.travel(f"{first_day(next_window(WindowId(month)))} 00:00:00")
    alliance.now = max(alliance.now, alliance.ledger_time())
    alliance.accept(close_window=instruction_pb2.CloseWindow(window=month))
    settled = alliance.settlement.GetSettlement(
        settlement_pb2.GetSettlementRequest(window=month), metadata=alliance.authorization(alliance.operator)
    )
    alliance.accept(propose_settlement=settled.proposal)
    return settled


def test_nine_months_of_real_baskets_agree_with_plain_sums_to_the_cent(alliance: Alliance, tmp_path: Path) -> None:
    expected = PlainSums()
    summary = submit(alliance)
    assert summary.baskets == 35_274
    assert not summary.refused
    assert summary.points_issued == sum(expected.issued.values())
    assert summary.points_redeemed == sum(expected.redeemed.values()) > 0
    size = alliance.log_size()

    again = submit(alliance)
    assert alliance.log_size() == size, "a second run changes nothing"
    assert again.replayed == again.transactions == summary.transactions

    for month in MONTHS:
        close(alliance, month)
        statement = alliance.statement(month)
        assert {each["issuer"]: each["issued"]["net"] for each in statement["points"]} == {
            merchant: expected.issued[month, merchant] for merchant in MERCHANTS
        }
        redeemed: defaultdict[str, int] = defaultdict(int)
        for each in statement["redemptions"]:
            redeemed[each["redeemer"]] += each["points"]
        assert {merchant: redeemed[merchant] for merchant in MERCHANTS} == {
            merchant: expected.redeemed[month, merchant] for merchant in MERCHANTS
        }
        assert {each["participant"]: Decimal(each["net"]) for each in statement["positions"]} == {
            merchant: expected.net[month, merchant] for merchant in MERCHANTS
        }

    alliance.export(tmp_path / "log")
    report = verify_export(tmp_path / "log", alliance.log_key.verifier)
    assert report.windows_proposed == tuple(MONTHS)
    assert report.points_outstanding == summary.points_issued - summary.points_redeemed
