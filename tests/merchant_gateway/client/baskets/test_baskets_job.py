"""The baskets' job against a real gateway on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from clearing.errors import ErrorReason
from clearing.model import MerchantId, Outcome, Points, Reference
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2
from merchant_gateway.client.baskets.csv_file import CsvFileError
from merchant_gateway.client.baskets.errors import BasketJobError
from merchant_gateway.client.baskets.submission import submit_baskets
from merchant_gateway.client.baskets.summary import BasketSummary
from merchant_gateway.client.baskets.waves import BasketRules
from merchant_gateway.client.connection import MerchantConnection
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.receipt_store import ReceiptStore
from tests.integration.alliance import TIME_ZONE, Alliance, founded
from tests.zones import calendar_of

HEADER = "basket_id,household_id,store_id,purchased_at,amount,coupon_discount\n"
RULES = BasketRules(Decimal(1), Points(10))
SECRET = bytes(32)
BASKETS = HEADER + (
    "1,h1,bakery-1,2026-01-05T10:00:00,6.40,0.00\n"
    "2,h2,cinema-1,2026-01-05T10:01:00,0.99,0.00\n"
    "3,h1,cinema-1,2026-01-05T11:00:00,7.00,0.30\n"
    "4,h2,bakery-1,2026-01-31T23:59:59,25.00,0.00\n"
    "5,h1,bakery-1,2026-02-01T00:00:00,1.00,0.00\n"
)


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(database_url) as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance


@pytest.fixture
def connection(alliance: Alliance) -> Iterator[MerchantConnection]:
    with MerchantConnection(alliance.gateway.server.address, alliance.identity) as a_connection:
        yield a_connection


def keys_of(alliance: Alliance) -> dict[MerchantId, PrivateKey]:
    return {MerchantId(merchant): key for merchant, key in alliance.keys.items()}


def run(
    folder: Path, alliance: Alliance, connection: MerchantConnection, baskets: str = BASKETS, mapping: str | None = None
) -> BasketSummary:
    path, mapping_path = folder / "baskets.csv", folder / "mapping.csv"
    path.write_text(baskets)
    mapping_path.write_text(mapping or "store_id,merchant\nbakery-1,bakery\ncinema-1,cinema\n")
    return submit_baskets(path, connection, keys_of(alliance), RULES, SECRET, store_merchants=mapping_path)


def log_size(connection: MerchantConnection) -> int:
    return connection.alliance().log_size


def test_baskets_earn_and_burn_and_a_second_run_changes_nothing(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    summary = run(tmp_path, alliance, connection)
    assert (summary.baskets, summary.baskets_without_points, summary.cards_opened) == (5, 1, 2)
    assert (summary.earns, summary.points_issued) == (4, 6 + 7 + 25 + 1)
    assert (summary.burns, summary.points_redeemed) == (2, 20)
    assert (summary.transactions, summary.replayed, dict(summary.refused)) == (8, 0, {})
    size = log_size(connection)

    again = run(tmp_path, alliance, connection)
    assert log_size(connection) == size
    assert again.replayed == again.transactions == 8
    assert (again.points_issued, again.points_redeemed) == (summary.points_issued, summary.points_redeemed)


def test_baskets_fall_into_the_month_they_were_bought_in(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    run(tmp_path, alliance, connection)
    windows = {
        reference: calendar_of(TIME_ZONE).window_at(
            connection.transaction(alliance.keys["bakery"], MerchantId("bakery"), Reference(reference)).accepted_at,
        )
        for reference in ("earn-4", "burn-4", "earn-5")
    }
    assert windows == {"earn-4": "2026-01", "burn-4": "2026-01", "earn-5": "2026-02"}


def test_receipts_of_all_merchants_are_kept_where_a_file_is_given(tmp_path: Path, alliance: Alliance) -> None:
    with (
        ReceiptStore(tmp_path / "receipts.sqlite", alliance.log_key.verifier) as store,
        MerchantConnection(alliance.gateway.server.address, alliance.identity, receipts=store) as connection,
    ):
        run(tmp_path, alliance, connection)
        assert store.count() == 8


def test_progress_counts_baskets_to_the_last(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "baskets.csv"
    path.write_text(BASKETS.replace("bakery-1", "cinema-1"))
    submit_baskets(
        path,
        connection,
        {MerchantId("cinema"): alliance.keys["cinema"]},
        RULES,
        SECRET,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_file_that_is_wrong_presents_nothing(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    size = log_size(connection)
    with pytest.raises(CsvFileError, match=r"line 7: amount"):
        run(tmp_path, alliance, connection, BASKETS + "6,h1,bakery-1,2026-02-01T00:00:00,-1.00,0.00\n")
    assert log_size(connection) == size


def test_a_store_that_is_not_open_or_anothers_presents_nothing(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    size = log_size(connection)
    with pytest.raises(BasketJobError, match=r"1 stores are not open .*garage-1 of bakery; have the operator"):
        run(
            tmp_path,
            alliance,
            connection,
            BASKETS + "6,h1,garage-1,2026-02-01T00:00:00,1.00,0.00\n",
            "store_id,merchant\nbakery-1,bakery\ncinema-1,cinema\ngarage-1,bakery\n",
        )
    with pytest.raises(BasketJobError, match="bakery-1 of cinema"):
        run(tmp_path, alliance, connection, mapping="store_id,merchant\nbakery-1,cinema\ncinema-1,cinema\n")
    assert log_size(connection) == size


def test_a_merchant_without_a_key_presents_nothing(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    size = log_size(connection)
    with pytest.raises(BasketJobError, match="no key of garage"):
        run(tmp_path, alliance, connection, mapping="store_id,merchant\nbakery-1,garage\ncinema-1,cinema\n")
    assert log_size(connection) == size


def test_a_merchants_key_that_is_not_its_own_stops_the_job_by_name(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    alliance.keys["bakery"], alliance.keys["cinema"] = alliance.keys["cinema"], alliance.keys["bakery"]
    with pytest.raises(GatewayError) as raised:
        run(tmp_path, alliance, connection)
    assert raised.value.reason is ErrorReason.MERCHANT_MISMATCH


def test_old_baskets_are_not_presented_to_an_alliance_on_the_system_clock(tmp_path: Path, database_url: str) -> None:
    with founded(database_url, clock="CLOCK_SYSTEM") as alliance:
        alliance.admit("bakery", "cinema")
        with MerchantConnection(alliance.gateway.server.address, alliance.identity) as connection:
            size = log_size(connection)
            old = BASKETS.replace("2026-", "2017-")
            with pytest.raises(BasketJobError, match=r"4 of 4 baskets .*clearing init --clock presented"):
                run(tmp_path, alliance, connection, old)
            assert log_size(connection) == size


def test_baskets_before_the_ledgers_time_are_told_but_a_run_that_began_is_finished(
    tmp_path: Path, alliance: Alliance, connection: MerchantConnection
) -> None:
    run(tmp_path, alliance, connection, HEADER + BASKETS.splitlines(keepends=True)[1])
    alliance.travel("2026-06-01 12:00:00")
    alliance.accept(open_store=instruction_pb2.OpenStore(merchant="bakery", store="bakery-2"))
    with pytest.raises(BasketJobError, match="ledger's time has come to 2026-06-01"):
        run(tmp_path, alliance, connection, BASKETS.replace("\n1,", "\n7,"))
    resumed = run(tmp_path, alliance, connection)
    assert resumed.replayed == 2
    # Three earns, and the card of the household that was not seen before.
    assert resumed.refused == {Outcome.LATE_PRESENTMENT: 4}
    assert "earn of basket 3 refused: LATE_PRESENTMENT" in str(resumed.refusals[0])
