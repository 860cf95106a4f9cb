"""The client library against a real gateway on a real PostgreSQL."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from back_office.host.assembly import Gateway
from clearing.calendar import moment_of
from clearing.card_token import random_token
from clearing.contract.log_identity import LogIdentity
from clearing.errors import ErrorReason, Rejection
from clearing.log.note import Signer
from clearing.model import MerchantId, Outcome, TransactionKind
from clearing.signing.keys import PrivateKey
from merchant_gateway.client.connection import MerchantConnection, WrongAllianceError
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.receipt_check import ReceiptError
from merchant_gateway.client.receipt_store import ReceiptStore
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transactions import burn, earn, open_card, refund
from tests.integration.alliance import Alliance, founded
from tests.merchant_gateway.client.outbox.outbox_scene import ONCE
from tests.waiting import PATIENCE_SECONDS

BAKERY = MerchantId("bakery")
CINEMA = MerchantId("cinema")
PATIENT = RetryPolicy(deadline_seconds=PATIENCE_SECONDS, attempt_seconds=PATIENCE_SECONDS, backoff_seconds_max=0.2)


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(database_url) as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance


@pytest.fixture
def store(tmp_path: Path, alliance: Alliance) -> Iterator[ReceiptStore]:
    with ReceiptStore(tmp_path / "receipts.sqlite", alliance.log_key.verifier) as a_store:
        yield a_store


@pytest.fixture
def client(alliance: Alliance, store: ReceiptStore) -> Iterator[MerchantClient]:
    with client_of(alliance, BAKERY, store) as a_client:
        yield a_client


def client_of(alliance: Alliance, merchant: MerchantId, store: ReceiptStore | None = None) -> MerchantClient:
    return MerchantClient(
        alliance.gateway.server.address,
        alliance.identity,
        merchant,
        alliance.keys[merchant],
        receipts=store,
        retry=PATIENT,
    )


def now(alliance: Alliance) -> datetime.datetime:
    return moment_of(alliance.time())


def test_a_sale_is_presented_proven_and_kept(alliance: Alliance, client: MerchantClient, store: ReceiptStore) -> None:
    card, at = random_token(), now(alliance)
    opened, earned = client.submit(
        [open_card("o1", card, "bakery-1", at), earn("e1", card, "bakery-1", 120, at, purchase_amount_minor=1_250)],
        presented_at=at,
    )
    assert opened.is_accepted
    assert (earned.outcome, earned.points, earned.points_available) == (Outcome.ACCEPTED, 120, 120)
    assert store.find(BAKERY, earned.reference) == earned
    listed = list(client.transactions())
    assert [(each.reference, each.kind, each.points) for each in listed] == [
        ("o1", TransactionKind.OPEN_CARD, 0),
        ("e1", TransactionKind.EARN, 120),
    ]
    assert list(client.transactions("2026-02")) == []
    balance = client.card(card)
    assert (balance.points_available, balance.points_owed) == (120, 0)
    assert [(each.expires_on.isoformat(), each.points) for each in balance.expiring] == [("2027-01-31", 120)]


def test_the_whole_life_of_points_over_two_merchants(alliance: Alliance, client: MerchantClient) -> None:
    card, at = random_token(), now(alliance)
    client.submit([open_card("o1", card, "bakery-1", at), earn("e1", card, "bakery-1", 100, at)], presented_at=at)
    with client_of(alliance, CINEMA) as cinema:
        at = now(alliance)
        burned, too_much = cinema.submit(
            [burn("b1", card, "cinema-1", 60, at), burn("b2", card, "cinema-1", 60, at)], presented_at=at
        )
        assert (burned.points_available, too_much.outcome) == (40, Outcome.INSUFFICIENT_POINTS)
        (back,) = cinema.submit([refund("r1", card, "cinema-1", "b1", at, points=10)], presented_at=at)
        assert back.points_available == 50
    at = now(alliance)
    (clawed_back,) = client.submit([refund("r1", card, "bakery-1", "e1", at)], presented_at=at)
    assert (clawed_back.points, clawed_back.points_available, clawed_back.points_owed) == (100, 0, 50)


def test_the_same_again_hears_the_same_and_is_marked(alliance: Alliance, client: MerchantClient) -> None:
    card, at = random_token(), now(alliance)
    sale = [open_card("o1", card, "bakery-1", at), earn("e1", card, "bakery-1", 10, at)]
    first = client.submit(sale, presented_at=at)
    client.submit([earn("e2", card, "bakery-1", 5, at)], presented_at=now(alliance))
    again = client.submit(sale, presented_at=now(alliance))
    assert [each.replayed for each in again] == [True, True]
    assert [(each.entry_index, each.points_available) for each in again] == [
        (each.entry_index, each.points_available) for each in first
    ]
    (other,) = client.submit([earn("e1", card, "bakery-1", 11, at)], presented_at=now(alliance))
    assert other.outcome is Outcome.REFERENCE_REUSED


def test_many_presentments_go_in_one_call_and_an_atomic_one_stands_or_falls_whole(
    alliance: Alliance, client: MerchantClient
) -> None:
    card, at = random_token(), now(alliance)
    opened, refused, earned = client.submit_many(
        [
            [open_card("o1", card, "bakery-1", at)],
            [earn("e1", card, "bakery-1", 5, at), burn("b1", card, "bakery-1", 6, at)],
            [earn("e2", card, "bakery-1", 7, at)],
        ],
        atomic=True,
        presented_at=at,
    )
    assert opened[0].is_accepted
    assert [each.outcome for each in refused] == [Outcome.ATOMIC_ABORTED, Outcome.INSUFFICIENT_POINTS]
    assert earned[0].points_available == 7


def test_a_signed_envelope_may_be_sent_later_and_by_whoever_has_it(alliance: Alliance, client: MerchantClient) -> None:
    card, at = random_token(), now(alliance)
    envelope = client.sign([open_card("o1", card, "bakery-1", at)], presented_at=at)
    with client_of(alliance, CINEMA) as courier:
        ((receipt,),) = courier.submit_signed([envelope])
    assert (receipt.merchant, receipt.outcome) == (BAKERY, Outcome.ACCEPTED)


def test_one_transaction_is_looked_up_with_its_proof(alliance: Alliance, client: MerchantClient) -> None:
    card, at = random_token(), now(alliance)
    (_, sent) = client.submit(
        [open_card("o1", card, "bakery-1", at), earn("e1", card, "bakery-1", 10, at)], presented_at=at
    )
    found = client.transaction("e1")
    assert (found.entry_index, found.position, found.points) == (sent.entry_index, 1, 10)
    with pytest.raises(GatewayError) as raised:
        client.transaction("e2")
    assert raised.value.reason is ErrorReason.NOT_FOUND


def test_more_transactions_than_a_page_holds_are_listed_in_order(alliance: Alliance, client: MerchantClient) -> None:
    card, at = random_token(), now(alliance)
    client.submit([open_card("o1", card, "bakery-1", at)], presented_at=at)
    references = [f"e{number}" for number in range(1_200)]
    client.submit_many(
        [
            [earn(reference, card, "bakery-1", 1, at) for reference in references[start : start + 300]]
            for start in range(0, len(references), 300)
        ],
        presented_at=at,
    )
    assert [each.reference for each in client.transactions()] == ["o1", *references]


def test_a_refused_call_names_reason_field_and_envelope(alliance: Alliance, client: MerchantClient) -> None:
    card, at = random_token(), now(alliance)
    good = [open_card("o1", card, "bakery-1", at)]
    bad = [earn("e1", card, "bakery-1", 5, at), earn("e2", "0049 170 1234567", "bakery-1", 5, at)]
    with pytest.raises(GatewayError) as raised:
        client.submit_many([good, bad], presented_at=at)
    error = raised.value
    assert (error.reason, error.code) == (ErrorReason.MALFORMED_CARD_TOKEN, grpc.StatusCode.INVALID_ARGUMENT)
    assert (error.envelope_index, error.is_worth_retrying) == (1, False)
    assert [violation.field for violation in error.field_violations] == ["transactions[1].card_token"]
    assert "1234567" not in str(error)
    with pytest.raises(GatewayError, match="NOT_FOUND"):
        client.transaction("o1")


def test_a_key_of_another_merchant_and_an_unknown_key_are_refused_by_name(alliance: Alliance) -> None:
    card, at = random_token(), now(alliance)
    for key, reason in (
        (alliance.keys["cinema"], ErrorReason.MERCHANT_MISMATCH),
        (PrivateKey.generate(), ErrorReason.UNKNOWN_KEY),
    ):
        with MerchantClient(alliance.gateway.server.address, alliance.identity, BAKERY, key) as client:
            with pytest.raises(GatewayError) as raised:
                client.submit([open_card("o1", card, "bakery-1", at)], presented_at=at)
            assert raised.value.reason is reason


def test_an_answer_that_another_key_signed_is_no_answer(alliance: Alliance) -> None:
    """The client was given another public key than this gateway's log has: whichever is wrong, nothing is proven."""
    card, at = random_token(), now(alliance)
    impostor = Signer(alliance.log_key.name, bytes(32)).verifier
    address = alliance.gateway.server.address
    with (
        MerchantClient(address, LogIdentity(impostor, alliance.log_id), BAKERY, alliance.keys["bakery"]) as client,
        pytest.raises(ReceiptError, match="does not hold"),
    ):
        client.submit([open_card("o1", card, "bakery-1", at)], presented_at=at)
    with (
        MerchantConnection(address, LogIdentity(impostor, alliance.log_id)) as connection,
        pytest.raises(WrongAllianceError, match="check the address"),
    ):
        connection.alliance()


def test_numbers_beyond_any_and_times_without_zone_never_leave(alliance: Alliance) -> None:
    card, at = random_token(), now(alliance)
    with pytest.raises(Rejection) as raised:
        earn("e1", card, "bakery-1", 2**63, at)
    assert raised.value.reason is ErrorReason.POINTS_OUT_OF_RANGE
    with pytest.raises(Rejection, match=r"occurred_at: .* has no time zone"):
        earn("e1", card, "bakery-1", 5, at.replace(tzinfo=None))


def test_points_out_of_range_are_refused_by_the_gateway(alliance: Alliance, client: MerchantClient) -> None:
    card, at = random_token(), now(alliance)
    for points in (0, -1, 2**63 - 1, 1_000_000_001):
        with pytest.raises(GatewayError) as raised:
            client.submit([earn("e1", card, "bakery-1", points, at)], presented_at=at)
        assert raised.value.reason is ErrorReason.POINTS_OUT_OF_RANGE


def test_a_gateway_that_is_away_is_waited_for_and_then_answers(
    alliance: Alliance, client: MerchantClient, store: ReceiptStore
) -> None:
    card, at = random_token(), now(alliance)
    sale = [open_card("o1", card, "bakery-1", at)]
    client.submit(sale, presented_at=at)
    address = alliance.gateway.server.address
    alliance.gateway.stop()

    def come_back() -> None:
        time.sleep(0.5)
        alliance.gateway = Gateway(alliance.engine, alliance.log_key, address)
        alliance.gateway.start()

    restart = threading.Thread(target=come_back)
    restart.start()
    sale = [*sale, earn("e1", card, "bakery-1", 5, at)]
    opened, earned = client.submit(sale, presented_at=at)
    restart.join()
    assert (opened.replayed, earned.replayed, earned.points_available) == (True, False, 5)
    assert store.find(BAKERY, earned.reference) == earned


def test_a_gateway_that_stays_away_is_told_by_address() -> None:
    log = LogIdentity(Signer("clearing.example/test", bytes(32)).verifier, bytes(16))
    with (
        MerchantClient("127.0.0.1:9", log, BAKERY, PrivateKey.generate(), retry=ONCE) as client,
        pytest.raises(GatewayError, match=r"the gateway at 127\.0\.0\.1:9 cannot be reached") as raised,
    ):
        client.card(random_token())
    assert raised.value.reason is None


def test_the_log_is_proven_to_have_only_grown_since_an_earlier_run(
    alliance: Alliance, client: MerchantClient, store: ReceiptStore
) -> None:
    card, at = random_token(), now(alliance)
    client.submit([open_card("o1", card, "bakery-1", at)], presented_at=at)
    with client_of(alliance, CINEMA) as cinema:
        at = now(alliance)
        cinema.submit([earn("e1", card, "cinema-1", 5, at)], presented_at=at)
    with client_of(alliance, BAKERY, store) as later:
        size = later.check_log()
    with client_of(alliance, BAKERY) as forgetful:
        assert forgetful.check_log() == size


def test_callers_on_many_threads_share_a_client(
    alliance: Alliance, client: MerchantClient, store: ReceiptStore
) -> None:
    card, at = random_token(), now(alliance)
    client.submit([open_card("o1", card, "bakery-1", at)], presented_at=at)
    balances: list[int] = []

    def sell(number: int) -> None:
        for sale in range(10):
            (receipt,) = client.submit([earn(f"e{number}-{sale}", card, "bakery-1", 1, at)], presented_at=at)
            balances.append(receipt.points_available)

    threads = [threading.Thread(target=sell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(balances) == list(range(1, 81))
    assert store.count() == 81
