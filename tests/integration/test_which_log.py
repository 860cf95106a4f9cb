"""What is signed is for one log and one time; what was decided is answered whatever has become of the key since."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
import sqlalchemy

from back_office.host.assembly import Gateway
from clearing.contract import instruction as instruction_contract
from clearing.contract.entry import timestamp_of
from clearing.contract.log_identity import log_id_of
from clearing.log.tiles import TILE_WIDTH
from clearing.model import MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND, Instant
from clearing.postgres.database_errors import LogDamagedError
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, operations_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2 import SubmitRequest
from tests.integration.alliance import Alliance, founded, local_instant
from tests.integration.held_up import execute
from tests.integration.observation import Refusal, refusal, untouched

DENIED, INVALID = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
STORE = instruction_pb2.OpenStore(merchant="bakery", store="bakery-2")


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    """An alliance of a bakery, under the presented clock."""
    with founded(database_url) as an_alliance:
        an_alliance.admit("bakery")
        yield an_alliance


def signed(alliance: Alliance, payload: bytes, *keys: PrivateKey) -> Envelope:
    return sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, keys or [alliance.operator])


def instructed(alliance: Alliance, envelope: Envelope) -> Refusal:
    request = operations_pb2.InstructRequest(envelope=envelope)
    return refusal(lambda: alliance.operations.Instruct(request))


def presented(alliance: Alliance, envelope: Envelope) -> Refusal:
    return refusal(lambda: alliance.merchants.Submit(SubmitRequest(envelopes=[envelope])))


def earn(alliance: Alliance, card: str, **fields: object) -> presentment_pb2.Presentment:
    return alliance.presentment(
        "bakery", alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=10)), **fields
    )


# ---- which log ----


def test_an_alliance_founded_again_under_the_same_origin_and_keys_takes_nothing_of_the_old_one(
    alliance: Alliance, module_database_url: str
) -> None:
    """Reproduced on the code before: all of the old one's messages were taken, singly."""
    card = alliance.open_card("bakery")
    sale = alliance.envelope(earn(alliance, card))
    order = signed(alliance, alliance.instruction(open_store=STORE))
    with founded(module_database_url, origin=alliance.origin) as again:
        again.admit("bakery")
        again.register(alliance.keys["bakery"], "ROLE_MERCHANT", merchant="bakery", holder="bakery-till")
        again.register(alliance.operator, "ROLE_OPERATOR", holder="operator-of-both")
        assert again.log_id != alliance.log_id
        with untouched(again.engine):
            assert presented(again, sale) == Refusal(DENIED, "WRONG_LOG", "clearing", "log_id", "0", False)
            assert instructed(again, order) == Refusal(DENIED, "WRONG_LOG", "clearing", "log_id", "", False)
    # There, where they belong, they count.
    alliance.submit(sale)
    alliance.operations.Instruct(operations_pb2.InstructRequest(envelope=order))


def test_a_message_for_no_log_is_taken_by_none(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    with untouched(alliance.engine):
        sale = alliance.envelope(earn(alliance, card, log_id=b""))
        assert presented(alliance, sale).reason == "WRONG_LOG"
        order = signed(alliance, alliance.instruction(log_id=b"", open_store=STORE))
        assert instructed(alliance, order).reason == "WRONG_LOG"
        short = alliance.envelope(earn(alliance, card, log_id=bytes(15)))
        assert (presented(alliance, short).reason, presented(alliance, short).field) == ("INVALID_FIELD", "log_id")


def test_the_logs_id_is_of_its_first_entry_and_is_told(alliance: Alliance) -> None:
    founding = execute_bytes(alliance.engine, 'SELECT entry FROM entries WHERE "index" = 0')
    told = alliance.operations.GetAlliance(operations_pb2.GetAllianceRequest()).log_id
    assert told == alliance.log_id == log_id_of(founding)


# ---- which time ----


def test_an_instruction_is_decided_before_it_expires_or_not_at_all(alliance: Alliance) -> None:
    at = alliance.time()
    payload = alliance.instruction(issued_at=at, expires_at=Instant(at + MICROSECONDS_PER_SECOND), open_store=STORE)
    alliance.open_card("bakery")
    alliance.open_card("bakery")
    with untouched(alliance.engine):
        heard = instructed(alliance, signed(alliance, payload))
        assert heard == Refusal(INVALID, "INSTRUCTION_EXPIRED", "clearing", "expires_at", "", False)
    alliance.accept(open_store=STORE)


@pytest.mark.parametrize("expires_after", [0, -1, 30 * MICROSECONDS_PER_DAY + 1, None])
def test_an_instruction_ends_after_it_begins_and_within_thirty_days(
    alliance: Alliance, expires_after: int | None
) -> None:
    at = alliance.time()
    message = instruction_pb2.Instruction.FromString(alliance.instruction(issued_at=at, open_store=STORE))
    message.ClearField("expires_at")
    if expires_after is not None:
        message.expires_at.CopyFrom(timestamp_of(Instant(at + expires_after)))
    with untouched(alliance.engine):
        heard = instructed(alliance, signed(alliance, message.SerializeToString()))
        assert (heard.reason, heard.field) == ("INVALID_FIELD", "expires_at")


@pytest.mark.parametrize("when", ["2026-01-02 08:54:58", "1971-01-01 00:00:00"])
def test_nothing_signed_before_the_founding_is_taken(alliance: Alliance, when: str) -> None:
    """Founded at 09:00:00; five minutes are the clocks' tolerance. A draft of 1971 was taken before."""
    card, at = alliance.open_card("bakery"), local_instant(when)
    with untouched(alliance.engine):
        sale = alliance.envelope(earn(alliance, card, presented_at=timestamp_of(at)))
        expected = Refusal(INVALID, "SIGNED_BEFORE_FOUNDING", "clearing", "presented_at", "0", False)
        assert presented(alliance, sale) == expected
        until = Instant(at + 30 * MICROSECONDS_PER_DAY)
        order = signed(alliance, alliance.instruction(issued_at=at, expires_at=until, open_store=STORE))
        assert instructed(alliance, order).reason in ("SIGNED_BEFORE_FOUNDING", "INSTRUCTION_EXPIRED")


# ---- known references ----


def test_a_till_whose_key_was_revoked_since_hears_what_was_decided_and_nothing_new(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    sale = alliance.envelope(earn(alliance, card))
    (original,) = alliance.submit(sale)
    lost, other = alliance.keys["bakery"], PrivateKey.generate()
    alliance.register(other, "ROLE_MERCHANT", merchant="bakery", holder="bakery-new-till")
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=lost.key_id))
    with untouched(alliance.engine):
        (again,) = alliance.submit(sale)
        assert (again.replayed, again.index, again.entry) == (True, original.index, original.entry)
        new = alliance.envelope(earn(alliance, card), lost)
        assert (presented(alliance, new).code, presented(alliance, new).reason) == (UNAUTHENTICATED, "KEY_REVOKED")
        # Part of it decided before is not enough: the rest would be decided by a key that counts no more.
        decided = presentment_pb2.Presentment.FromString(sale.payload).transactions[0]
        fresh = alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=5))
        mixed = alliance.envelope(alliance.presentment("bakery", decided, fresh), lost)
        assert presented(alliance, mixed).reason == "KEY_REVOKED"


def test_what_was_decided_is_told_to_the_keys_of_its_merchant_only(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    sale = alliance.envelope(earn(alliance, card))
    alliance.submit(sale)
    stranger = PrivateKey.generate()
    alliance.admit("cinema")
    with untouched(alliance.engine):
        payload = presentment_pb2.Presentment.FromString(sale.payload)
        assert presented(alliance, alliance.envelope(payload, stranger)).reason == "UNKNOWN_KEY"
        assert presented(alliance, alliance.envelope(payload, alliance.keys["cinema"])).reason == "MERCHANT_MISMATCH"
        assert presented(alliance, alliance.envelope(payload, alliance.operator)).reason == "ROLE_NOT_ALLOWED"


def test_an_instruction_that_expired_since_is_answered_too(alliance: Alliance) -> None:
    at = alliance.time()
    payload = alliance.instruction(
        issued_at=at, expires_at=Instant(at + 10 * MICROSECONDS_PER_SECOND), open_store=STORE
    )
    request = operations_pb2.InstructRequest(envelope=signed(alliance, payload))
    original = alliance.operations.Instruct(request).receipt
    alliance.now = Instant(alliance.now + MICROSECONDS_PER_DAY)
    alliance.open_card("bakery")
    with untouched(alliance.engine):
        again = alliance.operations.Instruct(request).receipt
    assert (again.replayed, again.entry) == (True, original.entry)


# ---- what is missing from a database ----


def lose_the_newest_revocation(alliance: Alliance) -> None:
    """Revoke a key, sell something after it, and take the revocation's mark as an instruction away."""
    alliance.admit("cinema")
    card = alliance.open_card("bakery")
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=alliance.keys["cinema"].key_id))
    alliance.earn("bakery", card, 10)
    newest = execute(alliance.engine, "SELECT max(entry_index) FROM instructions")
    execute(alliance.engine, f"DELETE FROM instructions WHERE entry_index = {newest} RETURNING 0")


def lose_a_revocation_that_is_the_last_entry(alliance: Alliance) -> None:
    """Nothing came after it that could name it."""
    alliance.admit("cinema")
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=alliance.keys["cinema"].key_id))
    newest = execute(alliance.engine, "SELECT max(entry_index) FROM instructions")
    assert newest == execute(alliance.engine, 'SELECT max("index") FROM entries')
    execute(alliance.engine, f"DELETE FROM instructions WHERE entry_index = {newest} RETURNING 0")


def lose_the_entry_of_a_revocation(alliance: Alliance) -> None:
    """Not its mark, but the row of the entry itself, in a tile that is full: so the tree does not miss it."""
    alliance.admit("cinema")
    card = alliance.open_card("bakery")
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=alliance.keys["cinema"].key_id))
    newest = execute(alliance.engine, 'SELECT max("index") FROM entries')
    alliance.submit(*(alliance.envelope(earn(alliance, card)) for _ in range(TILE_WIDTH)))
    execute(alliance.engine, f'DELETE FROM entries WHERE "index" = {newest} RETURNING 0')


def lose_an_instruction_in_between(alliance: Alliance) -> None:
    alliance.admit("cinema")
    execute(alliance.engine, "DELETE FROM instructions WHERE entry_index = 2 RETURNING 0")


@pytest.mark.parametrize(
    "lose",
    [
        lose_the_newest_revocation,
        lose_a_revocation_that_is_the_last_entry,
        lose_the_entry_of_a_revocation,
        lose_an_instruction_in_between,
    ],
    ids=lambda lose: lose.__name__,
)
def test_a_gateway_does_not_start_on_a_database_that_lost_an_instruction(
    alliance: Alliance, lose: Callable[[Alliance], None]
) -> None:
    lose(alliance)
    alliance.gateway.stop()
    with pytest.raises(LogDamagedError, match="an instruction is missing from the database"):
        Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0")


def test_a_gateway_does_not_start_on_a_database_that_lost_the_start_of_a_month(alliance: Alliance) -> None:
    alliance.now = local_instant("2026-02-03 10:00:00")
    first, second = alliance.open_card("bakery"), alliance.open_card("bakery")
    assert first != second
    alliance.gateway.stop()
    execute(alliance.engine, "DELETE FROM window_starts WHERE \"window\" = '2026-02' RETURNING 0")
    with pytest.raises(LogDamagedError, match="the start of a window is missing"):
        Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0")


def execute_bytes(engine: sqlalchemy.Engine, query: str) -> bytes:
    with engine.connect() as connection:
        return bytes(connection.execute(sqlalchemy.text(query)).scalar_one())
