"""One writer a log: fenced, interrupted, flooded and stopped, it neither loses nor doubles anything."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import sqlalchemy

from back_office.client.payments import recorded_payment
from back_office.host.assembly import Gateway
from clearing.contract import instruction as instruction_contract
from clearing.contract.entry import timestamp_of
from clearing.contract.receipt import Receipt
from clearing.deciding.authentication import authenticate_presentment
from clearing.log.note import Signer
from clearing.model import MICROSECONDS_PER_DAY, Instant
from clearing.postgres.database import open_engine
from clearing.postgres.embedded import server as embedded
from clearing.postgres.writing import writer_lock
from clearing.postgres.writing.writer_lock import WRITER_LOCK, WriterLockHeldError
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import (
    instruction_pb2,
    merchant_gateway_pb2,
    operations_pb2,
    presentment_pb2,
    settlement_pb2,
)
from clearing.v1.envelope_pb2 import Envelope
from clearing.writer.held_log import HeldLog, WrongLogKeyError
from clearing.writer.writer import Writer
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, ORIGIN, Alliance, founded
from tests.integration.held_up import decided_ahead, execute, held_up, is_held_up
from tests.integration.observation import Refusal, complaints, log_size, refusal, untouched
from tests.integration.test_audit import payments_of
from tests.integration.tills import at_work
from tests.waiting import wait_until

LOCKS = (
    "FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE datname = current_database()"
    f" AND locktype = 'advisory' AND granted AND objid::bigint = {WRITER_LOCK & 0xFFFF_FFFF}"
)
"""The writer's lock in the database that is asked."""
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def lock_holder(engine: sqlalchemy.Engine) -> int:
    """The id of the database session that holds the writer's lock; 0 while none does."""
    return execute(engine, f"SELECT max(pid) {LOCKS}")


def take_lock_away(engine: sqlalchemy.Engine) -> int:
    """End the database session that holds the writer's lock, if one does, and wait until it is gone; its id."""
    holder = lock_holder(engine)
    execute(engine, f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = {holder}")
    wait_until(lambda: execute(engine, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {holder}") == 0)
    return holder


@contextmanager
def succeeded(alliance: Alliance) -> Iterator[Gateway]:
    """Another gateway, which has the log because the lock was taken from the alliance's own, within the block."""
    found: list[Gateway] = []

    def is_found() -> bool:
        take_lock_away(alliance.engine)
        # The one before takes its lock again as soon as it notices, if it is the first to ask.
        with contextlib.suppress(WriterLockHeldError):
            found.append(Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0"))
        return found != []

    wait_until(is_found)
    with found[0] as successor:
        yield successor


@pytest.fixture
def unaware(alliance: Alliance, monkeypatch: pytest.MonkeyPatch) -> Alliance:
    """The alliance, whose writer does not look whether it still has its lock."""
    alliance.close()
    with monkeypatch.context() as patched:
        patched.setattr(writer_lock, "CHECKS_PER_LEASE", 0.001)
        alliance.open()
    return alliance


def earn(alliance: Alliance, card: str) -> Envelope:
    return alliance.envelope(
        alliance.presentment("bakery", alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=1)))
    )


def submission(alliance: Alliance, *envelopes: Envelope) -> Callable[[], object]:
    request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes)
    return lambda: alliance.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS)


# ---- one writer ----


def test_a_second_gateway_on_the_same_database_is_refused_and_told_who_holds_it(alliance: Alliance) -> None:
    with pytest.raises(WriterLockHeldError, match=r"database session \d+ \('clearing', from the same machine"):
        Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0")
    alliance.open_card("bakery")


def test_an_idle_writer_keeps_its_lock_alive(alliance: Alliance) -> None:
    """The database takes the lock from a session that is silent for its lease; a till may be silent all night."""
    holder = lock_holder(alliance.engine)
    asked_at = f"SELECT extract(epoch FROM query_start) * 1000000 FROM pg_stat_activity WHERE pid = {holder}"
    before = execute(alliance.engine, asked_at)
    assert before > 0
    wait_until(lambda: execute(alliance.engine, asked_at) > before)


def test_an_idle_writer_whose_session_ends_takes_the_lock_again(alliance: Alliance) -> None:
    before = take_lock_away(alliance.engine)
    assert before != 0
    wait_until(lambda: lock_holder(alliance.engine) not in (0, before))
    alliance.open_card("bakery")


def test_a_writer_whose_lock_was_taken_is_fenced_by_the_next_and_nothing_is_doubled(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    envelope = earn(alliance, card)
    with succeeded(alliance) as successor:
        fenced_channel, fenced = alliance.channel, alliance.merchants
        alliance.call(successor.server.address)
        (original,) = alliance.submit(envelope)

        fenced_request = merchant_gateway_pb2.SubmitRequest(envelopes=[earn(alliance, card)])
        with untouched(alliance.engine):
            for _ in range(3):
                heard = refusal(lambda: fenced.Submit(fenced_request, timeout=CALL_TIMEOUT_SECONDS))
                assert heard == Refusal(UNAVAILABLE, "FENCED", "clearing", "", "", True)
        assert not alliance.gateway.writer.is_writing
        assert successor.writer.is_writing
        (again,) = alliance.submit(envelope)
        assert (again.replayed, again.entry) == (True, original.entry)
        assert alliance.earn("bakery", card, 1).points_available == 2
        alliance.channel.close()
        fenced_channel.close()
    assert complaints(alliance.engine) == []


def test_a_writer_without_the_lock_does_not_stop_the_one_that_has_it(unaware: Alliance) -> None:
    """A batch that a writer, perhaps a killed one, commits after the next took the log up fences nobody for good."""
    alliance = unaware
    card = alliance.open_card("bakery")
    with succeeded(alliance) as successor:
        (late,) = alliance.submit(earn(alliance, card))
        before, first = alliance.channel, alliance.merchants
        alliance.call(successor.server.address)
        (next_one,) = alliance.submit(earn(alliance, card))
        assert next_one.index == late.index + 1
        request = merchant_gateway_pb2.SubmitRequest(envelopes=[earn(alliance, card)])
        assert refusal(lambda: first.Submit(request, timeout=CALL_TIMEOUT_SECONDS)).reason == "FENCED"
        assert alliance.earn("bakery", card, 1).points_available == 3
        alliance.channel.close()
        before.close()
    assert complaints(alliance.engine) == []


def test_an_answer_that_another_writers_last_commit_holds_is_given_and_not_recorded_again(unaware: Alliance) -> None:
    alliance = unaware
    payload = alliance.instruction(admit_merchant=instruction_pb2.AdmitMerchant(merchant="late", legal_name="Late"))
    request = instruction_request(sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [alliance.operator]))
    with succeeded(alliance) as successor:
        before, late = alliance.channel, alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS).receipt
        alliance.call(successor.server.address)
        with untouched(alliance.engine):
            again = alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS).receipt
        assert (again.replayed, again.index, again.entry) == (True, late.index, late.entry)
        assert successor.writer.log_entries == late.index + 1
        alliance.channel.close()
        before.close()
    assert complaints(alliance.engine) == []


def test_what_is_remembered_beside_the_state_is_told_to_read_itself_again_after_the_state(alliance: Alliance) -> None:
    """Read before, it could lack what was committed in between, and nothing would ever tell."""
    alliance.close()
    sizes: list[int] = []
    log = HeldLog(alliance.engine, alliance.log_key, None, on_reread=lambda: sizes.append(log.state.edge.size))
    before = log.state.edge.size
    take_lock_away(alliance.engine)
    alliance.open()
    alliance.open_card("bakery")
    alliance.close()
    log.mark_uncertain()
    log.reload_if_uncertain()
    log.reload_if_uncertain()
    assert sizes == [before + 1]
    log.release()
    alliance.open()


def test_another_log_key_than_the_foundings_is_refused_and_the_log_stays_free(alliance: Alliance) -> None:
    alliance.close()
    with pytest.raises(WrongLogKeyError, match="give the writer the key of the founding"):
        Writer(alliance.engine, Signer(ORIGIN, PrivateKey.generate().seed))
    alliance.open()
    alliance.open_card("bakery")


# ---- the pool ----


def test_a_full_pool_says_so_at_once_and_forgets_nothing_it_took(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    many = [
        alliance.transaction("bakery", card, reference=f"{n}", earn=presentment_pb2.Earn(points=1)) for n in range(500)
    ]
    large = alliance.envelope(alliance.presentment("bakery", *many))
    writer = alliance.gateway.writer
    assert writer.directory is not None
    messages = [authenticate_presentment(large, writer.directory)] * 40
    with ThreadPoolExecutor(1) as threads:
        with held_up(alliance):
            first = threads.submit(alliance.submit, earn(alliance, card))
            wait_until(lambda: is_held_up(alliance))
            decided_ahead = writer.submit(messages)
            wait_until(lambda: writer.transactions_waiting == 0)
            pooled = writer.submit(messages)
            assert writer.transactions_waiting == 20_000
            heard = refusal(submission(alliance, earn(alliance, card)))  # within the block: while nothing moves
            assert heard == Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "POOL_FULL", "clearing", "", "", True)
        assert not first.result()[0].replayed
    for replies, new in ((decided_ahead, 1), (pooled, 0)):
        receipts = [reply for reply in replies.result(CALL_TIMEOUT_SECONDS) if isinstance(reply, Receipt)]
        assert [receipt.replayed for receipt in receipts] == [False] * new + [True] * (40 - new)
    assert complaints(alliance.engine) == []


def test_closing_finishes_what_was_taken_and_takes_no_more(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    size = log_size(alliance.engine)
    envelopes = [earn(alliance, card) for _ in range(20)]
    with ThreadPoolExecutor(len(envelopes)) as threads:
        with held_up(alliance):
            calls = [threads.submit(alliance.submit, envelopes[0])]
            wait_until(lambda: is_held_up(alliance))
            ahead = decided_ahead(alliance)
            calls += [threads.submit(alliance.submit, envelope) for envelope in envelopes[1:]]
            wait_until(lambda: alliance.gateway.writer.transactions_waiting == 19)
            closing = threading.Thread(target=alliance.gateway.writer.close)
            closing.start()
            wait_until(lambda: not alliance.gateway.writer.is_writing)
            heard = refusal(submission(alliance, earn(alliance, card)))
            assert heard == Refusal(UNAVAILABLE, "SHUTTING_DOWN", "clearing", "", "", True)
        closing.join()
        indexes = {call.result()[0].index for call in calls}
    (receipt,) = ahead.result(CALL_TIMEOUT_SECONDS)
    assert isinstance(receipt, Receipt)
    assert indexes | {receipt.index} == set(range(size, size + 21))
    assert log_size(alliance.engine) == size + 21


# ---- restarts ----


def test_a_restarted_gateway_knows_what_every_kind_of_instruction_made(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    alliance.earn("bakery", card, 1_000)
    alliance.burn("cinema", card, 400)
    till = PrivateKey.generate()
    later = timestamp_of(Instant(alliance.now + 90 * MICROSECONDS_PER_DAY))
    alliance.register(
        till,
        "ROLE_MERCHANT",
        merchant="bakery",
        holder="till-2",
        valid_until=later,
        valid_from=timestamp_of(alliance.now),
    )
    finance = PrivateKey.generate()
    alliance.register(finance, "ROLE_FINANCE", holder="finance-1")
    alliance.accept(
        revoke_key=instruction_pb2.RevokeKey(keyid=till.key_id, effective_at=later, compromised_since=later)
    )
    prices = {"issuance_price": "0.02", "redemption_price": "0.015"}
    alliance.accept(set_terms=instruction_pb2.SetTerms(effective_from="2026-02-01", **prices))
    alliance.accept(set_terms=instruction_pb2.SetTerms(merchant="cinema", effective_from="2026-02-01", **prices))
    pair = instruction_pb2.SetTerms(
        merchant="bakery", counterparty="cinema", effective_from="2026-02-01", redemption_price="0.01"
    )
    alliance.accept(set_terms=pair)
    assert alliance.instruct(set_terms=pair).instruction_result is not None
    alliance.accept(expire_lots=instruction_pb2.ExpireLots(card_tokens=[card]))
    alliance.travel("2026-03-02 08:00:00")
    for window in ("2026-01", "2026-02"):
        alliance.accept(signers=[finance], close_window=instruction_pb2.CloseWindow(window=window))
    request = settlement_pb2.GetSettlementRequest(window="2026-01")
    proposal = alliance.settlement.GetSettlement(request, metadata=alliance.authorization(finance)).proposal
    alliance.accept(propose_settlement=proposal)
    alliance.accept(signers=[finance], approve_settlement=instruction_pb2.ApproveSettlement(proposal=proposal))
    (proven,) = payments_of(alliance, "2026-01").payments
    payment = recorded_payment("2026-01", proven, "2026-02-05", "E2E-1")
    alliance.accept(signers=[finance], record_payment=payment)
    alliance.instruct(record_payment=payment)  # refused: recorded already

    before = alliance.gateway.writer
    alliance.close()
    alliance.open()
    after = alliance.gateway.writer
    assert after.head == before.head
    assert after.directory == before.directory
    assert alliance.earn("bakery", card, 1).points_available == 601
    assert complaints(alliance.engine) == []


def test_a_lost_database_session_is_heard_as_unavailable_and_the_writer_goes_on_by_itself(alliance: Alliance) -> None:
    sessions = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    other = open_engine(alliance.engine.url.render_as_string(hide_password=False))
    with at_work(alliance) as tills:
        for _ in range(8):
            tills.wait_for_answers(50)
            assert execute(other, f"SELECT count(pg_terminate_backend(pid)) {sessions}") >= 1
        tills.wait_for_answers(50)
    other.dispose()
    assert set(tills.interruptions) == {UNAVAILABLE}
    tills.verify()


def test_a_restarted_database_is_found_again() -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        server = embedded.start(Path(folder), durable=False)
        with founded(server.create_database("restarted")) as alliance:
            alliance.admit("bakery", "cinema")
            with at_work(alliance) as tills:
                tills.wait_for_answers(50)
                server.stop()
                assert refusal(submission(alliance, earn(alliance, tills.cards[0]))) == Refusal(
                    UNAVAILABLE, "DATABASE_UNAVAILABLE", "clearing", "", "", True
                )
                server = embedded.start(Path(folder), durable=False)
                tills.wait_for_answers(50)
            tills.verify()
        server.stop()


def test_instructions_of_a_stopped_gateway_are_not_taken(alliance: Alliance) -> None:
    payload = alliance.instruction(admit_merchant=instruction_pb2.AdmitMerchant(merchant="late", legal_name="Late"))
    envelope = sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [alliance.operator])
    operations, request = alliance.operations, instruction_request(envelope)
    alliance.gateway.writer.close()
    with untouched(alliance.engine):
        heard = refusal(lambda: operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS))
        assert heard == Refusal(UNAVAILABLE, "SHUTTING_DOWN", "clearing", "", "", True)


def instruction_request(envelope: Envelope) -> operations_pb2.InstructRequest:
    return operations_pb2.InstructRequest(envelope=envelope)
