"""A till's outbox on a real gateway: what is sold is presented once, in order, whatever the line does."""

from __future__ import annotations

import datetime
import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import sqlalchemy
from structlog.testing import capture_logs

from clearing.card_token import random_token
from clearing.errors import ErrorReason, Rejection
from clearing.model import MICROSECONDS_PER_DAY, Instant, Outcome, Points
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.outbox import (
    BurnOfflineError,
    DrainReport,
    FloorLimit,
    Outbox,
    OutboxError,
    ReferenceTakenError,
    SaleSetAsideError,
    sales,
    sending,
)
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transactions import burn, earn, open_card, refund
from merchant_gateway.server import service
from tests.integration.alliance import founded
from tests.merchant_gateway.client.outbox.outbox_scene import (
    IMPATIENCE_SECONDS,
    NOWHERE,
    ONCE,
    PATIENCE_SECONDS,
    STORE,
    Line,
    Shop,
    now,
    queued,
    receipt,
)
from tests.waiting import PATIENCE_SECONDS as TEST_PATIENCE_SECONDS
from tests.waiting import wait_until

FLOOR = FloorLimit(points_per_burn=Points(50), points_outstanding=Points(80))


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with founded(database_url, clock="CLOCK_SYSTEM") as alliance:
        alliance.admit("bakery", "cinema")
        yield Shop(alliance, tmp_path)


def spoil(shop: Shop, reference: str, landmark: bytes, distance: int) -> None:
    """Turn one bit of what the file holds of a sale."""
    connection = sqlite3.connect(shop.folder / "outbox.sqlite")
    with connection:
        (kept,) = connection.execute("SELECT envelope FROM sale WHERE reference = ?", (reference,)).fetchone()
        envelope = bytearray(kept)
        envelope[kept.index(landmark) + distance] ^= 1
        connection.execute("UPDATE sale SET envelope = ? WHERE reference = ?", (bytes(envelope), reference))
    connection.close()


# ---- on the line ----


def test_a_sale_on_the_line_is_decided_at_once_and_proven(shop: Shop) -> None:
    card = random_token()
    with shop.outbox() as outbox:
        assert receipt(outbox.sell(open_card("o1", card, STORE, now()))).is_accepted
        earned = receipt(outbox.sell(earn("e1", card, STORE, 120, now())))
        assert (earned.outcome, earned.points_available, earned.replayed) == (Outcome.ACCEPTED, 120, False)
        burned = receipt(outbox.sell(burn("b1", card, STORE, 20, now())))
        assert burned.points_available == 100
        backlog = outbox.backlog()
    assert (backlog.queued, backlog.refused, backlog.set_aside, backlog.oldest_age) == (0, 0, 0, None)


def test_the_same_sale_again_is_the_same_sale_also_after_a_restart(shop: Shop) -> None:
    card = shop.card_with(10)
    sale = earn("e1", card, STORE, 5, now())
    with shop.outbox() as outbox:
        first = receipt(outbox.sell(sale))
        assert receipt(outbox.sell(sale)) == first
    with shop.outbox() as outbox:
        assert receipt(outbox.sell(sale)) == first
        with pytest.raises(ReferenceTakenError, match="another sale under the reference 'e1'"):
            outbox.sell(earn("e1", card, STORE, 6, now()))
    assert shop.points(card) == 15


def test_a_sale_that_the_file_has_forgotten_is_answered_by_the_ledger(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sales, "ACCEPTED_KEPT", 0)
    card = shop.card_with(10)
    sale = earn("e1", card, STORE, 5, now())
    with shop.outbox() as outbox:
        assert receipt(outbox.sell(sale)).points_available == 15
        again = receipt(outbox.sell(sale))
        assert (again.points_available, again.replayed) == (15, True)
        assert receipt(outbox.sell(burn("b1", card, STORE, 5, now()))).points_available == 10


def test_a_refused_sale_is_final_and_kept_until_it_is_acknowledged(shop: Shop) -> None:
    card = random_token()
    sale = earn("e1", card, STORE, 5, now())
    with shop.outbox() as outbox:
        assert receipt(outbox.sell(sale)).outcome is Outcome.UNKNOWN_CARD
        shop.alliance.present("bakery", open_card("o1", card, STORE, now()))
        assert receipt(outbox.sell(sale)).outcome is Outcome.UNKNOWN_CARD
    with shop.outbox() as outbox:
        (refused,) = outbox.refusals()
        assert (refused.transaction, refused.receipt.outcome) == (sale, Outcome.UNKNOWN_CARD)
        assert outbox.backlog().refused == 1
        outbox.acknowledge("e1")
        assert list(outbox.refusals()) == []
        with pytest.raises(OutboxError, match="no sale 'e1' is refused here"):
            outbox.acknowledge("e1")


def test_what_no_gateway_would_take_is_told_while_the_customer_is_there(shop: Shop) -> None:
    shop.go_away()
    with shop.outbox(patience_seconds=IMPATIENCE_SECONDS) as outbox:
        for sale, reason in (
            (earn("e1", "0049 170 1234567", STORE, 5, now()), ErrorReason.MALFORMED_CARD_TOKEN),
            (earn("e1", random_token(), STORE, 0, now()), ErrorReason.POINTS_OUT_OF_RANGE),
            (earn("e 1", random_token(), STORE, 5, now()), ErrorReason.INVALID_FIELD),
        ):
            with pytest.raises(Rejection) as raised:
                outbox.sell(sale)
            assert raised.value.reason is reason
        assert outbox.backlog().queued == 0


# ---- off the line ----


def test_offline_sales_queue_and_are_presented_in_order_when_the_gateway_is_back(shop: Shop) -> None:
    card = random_token()
    shop.go_away()
    with shop.outbox(floor_limit=FLOOR, retry=ONCE) as outbox:
        waiting = [
            queued(outbox.sell(each))
            for each in (
                open_card("s1", card, STORE, now()),
                earn("s2", card, STORE, 40, now()),
                burn("s3", card, STORE, 40, now()),
                refund("s4", card, STORE, "s2", now(), points=1),
            )
        ]
        assert isinstance(waiting[0].stopped_by, GatewayError)
        assert waiting[0].stopped_by.code is grpc.StatusCode.UNAVAILABLE
        assert (waiting[-1].backlog.queued, waiting[-1].backlog.points_burned) == (4, 40)
        assert outbox.drain().backlog.queued == 4
    shop.come_back()
    with shop.outbox() as outbox:
        report = outbox.drain()
        assert (report.accepted, report.refused, report.set_aside, report.stopped_by) == (4, (), (), None)
        assert report.backlog.queued == 0
    assert shop.references("s") == ["s1", "s2", "s3", "s4"]


def test_a_long_queue_goes_in_calls_as_large_as_the_contract_allows(shop: Shop) -> None:
    assert sending.ENVELOPES_PER_CALL_MAX == service.ENVELOPES_MAX
    assert sending.CALL_BYTES_MAX < service.CALL_BYTES_MAX
    card = shop.card_with(1)
    with shop.outbox(patience_seconds=0.0) as outbox:
        for number in range(1_100):
            queued(outbox.sell(earn(f"e{number:04}", card, STORE, 1, now())))
        size = shop.alliance.log_size()
        assert outbox.drain().accepted == 1_100
    assert shop.references("e") == [f"e{number:04}" for number in range(1_100)]
    assert shop.alliance.log_size() == size + 1_100
    assert shop.points(card) == 1_101


def test_while_the_gateway_is_known_to_be_away_customers_do_not_wait(shop: Shop) -> None:
    card = shop.card_with(1)
    at_once = RetryPolicy(first_backoff_seconds=0.0, backoff_seconds_max=0.0)
    # As long as a customer would wait: so the first one's patience ends before that, and the next ones' after it.
    away = GatewayError(grpc.StatusCode.UNAVAILABLE, "away", retry_delay_seconds=PATIENCE_SECONDS)
    shop.client.errors = [away]
    with shop.outbox(retry=at_once, patience_seconds=PATIENCE_SECONDS) as outbox:
        for number in range(20):
            assert queued(outbox.sell(earn(f"e{number}", card, STORE, 1, now()))).stopped_by is away
    assert len(shop.client.calls) == 1


def queue_of(shop: Shop, outbox: Outbox, sales: int, prefix: str = "e") -> None:
    card = shop.card_with(1)
    for number in range(sales):
        queued(outbox.sell(earn(f"{prefix}{number}", card, STORE, 1, now())))


def test_a_full_pool_is_given_the_time_it_asks_for_and_then_less_at_once(shop: Shop) -> None:
    with shop.outbox(patience_seconds=0.0) as outbox:
        queue_of(shop, outbox, 8)
        exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
        shop.client.errors = [
            GatewayError(exhausted, "full", reason=ErrorReason.POOL_FULL, retry_delay_seconds=0.3) for _ in range(2)
        ]
        report = outbox.drain()
        assert (report.accepted, report.stopped_by) == (8, None)
    moments, sizes = zip(*shop.client.calls, strict=True)
    assert sizes == (8, 4, 2, 4, 2)
    assert min(moments[1] - moments[0], moments[2] - moments[1]) >= 0.3


def test_a_wait_longer_than_the_time_there_is_ends_the_drain_and_is_kept_by_the_next(shop: Shop) -> None:
    with shop.outbox(patience_seconds=0.0) as outbox:
        queue_of(shop, outbox, 1)
        assert outbox.drain().accepted == 1  # from here on the gateway is known to be there
        queue_of(shop, outbox, 1, "f")
        full = GatewayError(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_delay_seconds=0.5)
        shop.client.errors = [full]
        report = outbox.drain(0.4)
        while shop.client.errors:  # the machine did not come so far in that time
            report = outbox.drain(0.4)
        assert report.stopped_by is full
        assert outbox.drain().accepted == 1
    _, refused_s, accepted_s = (moment for moment, _ in shop.client.calls)
    assert accepted_s - refused_s >= 0.5


def test_a_call_too_large_for_the_gateway_is_split(shop: Shop) -> None:
    with shop.outbox(patience_seconds=0.0) as outbox:
        queue_of(shop, outbox, 5)
        large = GatewayError(grpc.StatusCode.INVALID_ARGUMENT, "too large", reason=ErrorReason.CALL_SIZE)
        shop.client.errors = [large]
        assert outbox.drain().accepted == 5
    assert [size for _, size in shop.client.calls] == [5, 2, 3]


def test_what_cannot_be_mended_by_waiting_is_not_sent_again_in_the_same_drain(shop: Shop) -> None:
    with shop.outbox(patience_seconds=0.0) as outbox:
        queue_of(shop, outbox, 2)
        shop.client.errors = [GatewayError(grpc.StatusCode.PERMISSION_DENIED, "no")]
        report = outbox.drain()
        assert (report.stopped_by is not None, report.backlog.queued, len(shop.client.calls)) == (True, 2, 1)
        assert outbox.drain().accepted == 2


def test_a_refused_sale_holds_up_no_other(shop: Shop) -> None:
    """A refusal is an answer: nothing is waited for, and nothing that follows goes in smaller calls."""
    card = shop.card_with(1)
    with shop.outbox(patience_seconds=0.0, retry=ONCE) as outbox:
        queued(outbox.sell(earn("e1", random_token(), STORE, 1, now())))
        (refused,) = outbox.drain().refused
        assert refused.receipt.outcome is Outcome.UNKNOWN_CARD
        for number in range(2, 6):
            queued(outbox.sell(earn(f"e{number}", card if number % 2 else random_token(), STORE, 1, now())))
        report = outbox.drain()
        assert (report.accepted, len(report.refused), report.stopped_by) == (2, 2, None)
    assert [size for _, size in shop.client.calls] == [1, 4]


@contextmanager
def failing_at(shop: Shop, transactions: str) -> Iterator[None]:
    """Within the block the gateway's database fails, in a way that no gateway expects, at some transactions."""
    body = "BEGIN IF EXISTS (SELECT FROM failing) THEN RAISE EXCEPTION 'a defect'; END IF; RETURN NEW; END"
    trigger = f"BEFORE INSERT ON transactions FOR EACH ROW WHEN ({transactions}) EXECUTE FUNCTION fail()"
    execute(
        shop,
        "CREATE TABLE failing AS SELECT",
        f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        f"CREATE TRIGGER fail {trigger}",
    )
    with capture_logs():  # showing the failures with all their frames takes seconds each
        yield
        execute(shop, "DELETE FROM failing")


def execute(shop: Shop, *statements: str) -> None:
    with shop.alliance.engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))


def test_a_sale_at_which_the_gateway_fails_is_set_aside_and_the_others_go_on(shop: Shop) -> None:
    with shop.outbox(patience_seconds=0.0) as outbox:
        queue_of(shop, outbox, 10)
        queue_of(shop, outbox, 10, "f")
        with failing_at(shop, "NEW.reference = 'e3'"):
            report = outbox.drain(TEST_PATIENCE_SECONDS)
        (bad,) = report.set_aside
        assert (report.accepted, report.refused, report.stopped_by, report.backlog.queued) == (19, (), None, 0)
        assert (bad.reference, bad.transaction) == ("e3", next(outbox.set_aside_sales()).transaction)
        assert re.search(r"\(INTERNAL, call [0-9a-f]{16}\)", bad.reason)
        outbox.send_again("e3")
        assert outbox.drain().accepted == 1
    assert len(set(shop.references("e") + shop.references("f"))) == 20


def test_a_gateway_that_fails_at_every_sale_is_waited_for_and_no_sale_is_blamed(shop: Shop) -> None:
    with shop.outbox(patience_seconds=0.0) as outbox, ThreadPoolExecutor(1) as background:
        queue_of(shop, outbox, 3)
        queue_of(shop, outbox, 3, "f")
        with failing_at(shop, "true"):

            def has_failed_at_one_sale() -> bool:
                report = outbox.drain(1.5)
                assert (report.accepted, report.set_aside, report.backlog.queued) == (0, (), 6)
                return isinstance(report.stopped_by, GatewayError) and (1, ErrorReason.INTERNAL) in shop.client.reasons

            wait_until(has_failed_at_one_sale)
            assert {reason for _, reason in shop.client.reasons} == {ErrorReason.INTERNAL}
            calls = len(shop.client.calls)
            draining = background.submit(outbox.drain, 2 * TEST_PATIENCE_SECONDS)
            wait_until(lambda: len(shop.client.calls) > calls + 1)
        # The failure is over only now: the drain that is under way goes on by itself.
        assert draining.result().accepted == 6
    assert shop.references("e") + shop.references("f") == ["e0", "e1", "e2", "f0", "f1", "f2"]


def test_the_background_drains_as_soon_as_it_can_and_reports(shop: Shop) -> None:
    card = shop.card_with(1)
    reports: list[DrainReport] = []
    is_empty = threading.Event()

    def on_report(report: DrainReport) -> None:
        reports.append(report)
        if report.backlog.queued == 0:
            is_empty.set()

    shop.go_away()
    with shop.outbox(patience_seconds=IMPATIENCE_SECONDS) as outbox:
        outbox.drain_in_background(on_report, every_seconds=0.02)
        queued(outbox.sell(earn("e1", card, STORE, 1, now())))
        queued(outbox.sell(earn("e2", random_token(), STORE, 1, now())))
        shop.come_back()
        assert is_empty.wait(TEST_PATIENCE_SECONDS)
    assert sum(report.accepted for report in reports) == 1
    assert [each.receipt.reference for report in reports for each in report.refused] == ["e2"]


def test_several_tills_on_threads_share_an_outbox(shop: Shop) -> None:
    card = shop.card_with(1)
    answers: list[object] = []

    def serve(till: int) -> None:
        with shop.outbox() as outbox:
            answers.extend(receipt(outbox.sell(earn(f"e{till}-{n}", card, STORE, 1, now()))) for n in range(15))

    tills = [threading.Thread(target=serve, args=(till,)) for till in range(4)]
    for each in tills:
        each.start()
    for each in tills:
        each.join()
    assert len(answers) == 60
    assert shop.points(card) == 61
    assert len(set(shop.references("e"))) == len(shop.references("e")) == 60


# ---- burns ----


def test_a_burn_offline_is_not_done_without_a_floor_limit(shop: Shop) -> None:
    card = shop.card_with(100)
    shop.go_away()
    with shop.outbox(patience_seconds=IMPATIENCE_SECONDS) as outbox:
        with pytest.raises(BurnOfflineError, match=r"'b1' is not done: .* no floor limit"):
            outbox.sell(burn("b1", card, STORE, 10, now()))
        assert outbox.backlog().queued == 0
        shop.come_back()
        assert outbox.drain().accepted == 0
    assert shop.points(card) == 100


def test_burns_offline_stay_within_the_floor_limit_alone_and_together(shop: Shop) -> None:
    card = shop.card_with(100)
    shop.go_away()
    with shop.outbox(floor_limit=FLOOR, patience_seconds=IMPATIENCE_SECONDS) as outbox:
        with pytest.raises(BurnOfflineError):
            outbox.sell(burn("b1", card, STORE, 51, now()))
        queued(outbox.sell(burn("b2", card, STORE, 50, now())))
        with pytest.raises(BurnOfflineError):
            outbox.sell(burn("b3", card, STORE, 31, now()))
        assert queued(outbox.sell(burn("b4", card, STORE, 30, now()))).backlog.points_burned == 80
        shop.come_back()
        assert outbox.drain().accepted == 2
        assert outbox.backlog().points_burned == 0
    with shop.outbox(floor_limit=FLOOR) as outbox:
        assert receipt(outbox.sell(burn("b5", card, STORE, 20, now()))).points_available == 0
    assert shop.references("b") == ["b2", "b4", "b5"]


def test_a_burn_that_was_let_through_offline_and_is_refused_later_is_shown(shop: Shop) -> None:
    card = shop.card_with(10)
    shop.go_away()
    with shop.outbox(floor_limit=FLOOR, patience_seconds=IMPATIENCE_SECONDS) as outbox:
        queued(outbox.sell(burn("b1", card, STORE, 11, now())))
        shop.come_back()
        (refused,) = outbox.drain().refused
        assert (refused.receipt.outcome, refused.transaction.burn.points) == (Outcome.INSUFFICIENT_POINTS, 11)
        assert [each.receipt.reference for each in outbox.refusals()] == ["b1"]


@pytest.mark.parametrize("line", [Line.DEAD, Line.ANSWERS_LOST])
def test_a_burn_whose_answer_did_not_come_is_taken_back_whether_or_not_it_was_decided(shop: Shop, line: Line) -> None:
    card = shop.card_with(100)
    with shop.outbox(retry=ONCE) as outbox:
        receipt(outbox.sell(earn("e1", card, STORE, 1, now())))
        sale = burn("b1", card, STORE, 60, now())
        shop.client.line = line
        with pytest.raises(BurnOfflineError, match="'b1' is not done"):
            outbox.sell(sale)
        assert (outbox.backlog().queued, outbox.backlog().points_burned) == (2, 0)
        assert shop.points(card) == (101 if line is Line.DEAD else 41)
    shop.client.line = Line.GOOD
    with shop.outbox() as outbox:
        report = outbox.drain()
        assert (report.accepted, report.refused) == (2, ())
        assert shop.points(card) == 101
        with pytest.raises(BurnOfflineError, match="it was taken back before"):
            outbox.sell(sale)
    assert shop.points(card) == 101


def test_a_burn_that_was_taken_back_and_is_refused_is_no_refusal_to_look_at(shop: Shop) -> None:
    card = shop.card_with(10)
    with shop.outbox(retry=ONCE) as outbox:
        receipt(outbox.sell(earn("e1", card, STORE, 1, now())))
        shop.client.line = Line.DEAD
        with pytest.raises(BurnOfflineError):
            outbox.sell(burn("b1", card, STORE, 60, now()))
    shop.client.line = Line.GOOD
    with shop.outbox() as outbox:
        report = outbox.drain()
        assert (report.accepted, report.refused, report.backlog.queued) == (0, (), 0)
        assert list(outbox.refusals()) == []


# ---- what cannot be sent as it is ----


def test_one_bad_sale_is_set_aside_and_the_others_go_on(shop: Shop) -> None:
    card = shop.card_with(1)
    with shop.outbox(patience_seconds=0.0) as outbox:
        for reference in ("e1", "e2", "e3"):
            queued(outbox.sell(earn(reference, card, STORE, 5, now())))
        # The signature's last byte: tag and length of the keyid lie between.
        spoil(shop, "e2", shop.client.key_id.encode(), -3)
        report = outbox.drain()
        assert (report.accepted, report.stopped_by) == (2, None)
        (bad,) = report.set_aside
        assert (bad.reference, bad.transaction) == ("e2", next(outbox.set_aside_sales()).transaction)
        assert "BAD_SIGNATURE" in bad.reason
        assert outbox.backlog().set_aside == 1
    with shop.outbox() as outbox:
        assert shop.references("e") == ["e1", "e3"]
        outbox.send_again("e2")
        assert (outbox.drain().accepted, outbox.backlog().set_aside) == (1, 0)
    assert shop.references("e") == ["e1", "e3", "e2"]
    assert shop.points(card) == 16


def test_a_sale_whose_content_rotted_in_the_file_is_never_presented(shop: Shop) -> None:
    card = shop.card_with(1)
    sale = earn("e1", card, STORE, 5, now())
    with shop.outbox(patience_seconds=0.0) as outbox:
        queued(outbox.sell(sale))
        spoil(shop, "e1", b"card_", 10)
        (bad,) = outbox.drain().set_aside
        assert (bad.reason, bad.transaction) == ("the file does not hold any more what was written", None)
        for ask in (lambda: outbox.send_again("e1"), lambda: outbox.sell(sale)):
            with pytest.raises(SaleSetAsideError, match="e1"):
                ask()
        outbox.discard("e1")
        with pytest.raises(OutboxError, match="no sale 'e1' is set aside here"):
            outbox.send_again("e1")
        queued(outbox.sell(sale))
        assert outbox.drain().accepted == 1
    assert shop.points(card) == 6


def test_sales_signed_by_a_key_that_ended_are_signed_by_the_new_one(shop: Shop) -> None:
    card = shop.card_with(1)
    with shop.outbox(patience_seconds=0.0) as outbox:
        for number in range(5):
            queued(outbox.sell(earn(f"e{number}", card, STORE, 1, now())))
        old, new = shop.alliance.keys["bakery"], PrivateKey.generate()
        shop.alliance.register(new, "ROLE_MERCHANT", merchant="bakery", holder="bakery-office")
        shop.alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=old.key_id))
        report = outbox.drain()
        assert (report.accepted, report.set_aside, report.backlog.queued) == (0, (), 5)
        assert isinstance(report.stopped_by, GatewayError)
        assert report.stopped_by.reason is ErrorReason.KEY_REVOKED
    with shop.client_of(new) as client, shop.outbox(client) as outbox:
        assert outbox.drain().accepted == 5
        assert client.card(card).points_available == 6


def test_what_is_no_sales_fault_stops_the_queue_and_sets_nothing_aside(shop: Shop) -> None:
    card = shop.card_with(1)
    cinemas_key = shop.alliance.keys["cinema"]
    with shop.client_of(cinemas_key) as client, shop.outbox(client) as outbox:
        answer = queued(outbox.sell(earn("e1", card, STORE, 1, now())))
        assert isinstance(answer.stopped_by, GatewayError)
        assert answer.stopped_by.reason is ErrorReason.MERCHANT_MISMATCH
        assert (answer.backlog.queued, answer.backlog.set_aside) == (1, 0)


def test_a_till_whose_clock_is_ahead_waits_and_one_whose_clock_was_ahead_asks(shop: Shop) -> None:
    card = shop.card_with(1)
    ahead = now() + datetime.timedelta(hours=1)
    with shop.outbox(wall_clock=lambda: Instant(int(ahead.timestamp() + 60) * 1_000_000)) as outbox:
        answer = queued(outbox.sell(earn("e1", card, STORE, 1, now()), presented_at=ahead))
        assert isinstance(answer.stopped_by, GatewayError)
        assert answer.stopped_by.reason is ErrorReason.CLOCK_SKEW
    with shop.outbox() as outbox:
        (bad,) = outbox.drain().set_aside
        assert "CLOCK_SKEW" in bad.reason
        outbox.send_again("e1")
        assert outbox.drain().accepted == 1


def test_a_sale_dated_before_the_alliance_was_founded_is_set_aside_and_the_others_go_on(shop: Shop) -> None:
    card = shop.card_with(1)
    with shop.outbox(patience_seconds=0.0) as outbox:
        in_1971 = datetime.datetime(1971, 1, 1, tzinfo=datetime.UTC)
        queued(outbox.sell(earn("e1", card, STORE, 1, now()), presented_at=in_1971))
        queued(outbox.sell(earn("e2", card, STORE, 1, now())))
        report = outbox.drain()
        (bad,) = report.set_aside
        assert (bad.reference, report.accepted, report.stopped_by) == ("e1", 1, None)
        assert "SIGNED_BEFORE_FOUNDING" in bad.reason
        outbox.send_again("e1")
        assert outbox.drain().accepted == 1
    assert shop.points(card) == 3


# ---- age ----


def test_the_till_is_warned_before_its_oldest_sale_is_too_late_and_late_ones_are_sent(shop: Shop) -> None:
    card = shop.card_with(1)
    with shop.outbox(patience_seconds=0.0) as outbox:
        queued(outbox.sell(earn("e1", card, STORE, 1, now() - datetime.timedelta(days=5))))
        assert not outbox.backlog().is_nearly_late
        queued(outbox.sell(earn("e2", card, STORE, 1, now() - datetime.timedelta(days=6))))
        queued(outbox.sell(earn("e3", card, STORE, 1, now() - datetime.timedelta(days=8))))
        backlog = outbox.backlog()
        assert backlog.oldest_age is not None
        assert datetime.timedelta(days=8) <= backlog.oldest_age < datetime.timedelta(days=8, hours=1)
        assert (backlog.late_after, backlog.is_nearly_late) == (datetime.timedelta(days=7), True)
        report = outbox.drain()
        assert report.accepted == 2
        assert [each.receipt.outcome for each in report.refused] == [Outcome.LATE_PRESENTMENT]


def test_how_late_is_too_late_is_the_alliances_and_remembered(database_url: str, tmp_path: Path) -> None:
    with founded(database_url, clock="CLOCK_SYSTEM", late_presentment_days=2) as alliance:
        alliance.admit("bakery")
        shop = Shop(alliance, tmp_path)
        card = shop.card_with(1)
        with shop.outbox() as outbox:
            receipt(outbox.sell(earn("e1", card, STORE, 1, now())))
        shop.address = NOWHERE
        later = Instant(alliance.time() + 8 * MICROSECONDS_PER_DAY // 5)
        offline = shop.client_of(alliance.keys["bakery"])
        with shop.outbox(offline, wall_clock=lambda: later, patience_seconds=IMPATIENCE_SECONDS) as outbox:
            backlog = queued(outbox.sell(earn("e2", card, STORE, 1, now()))).backlog
    assert (backlog.late_after, backlog.is_nearly_late) == (datetime.timedelta(days=2), True)
