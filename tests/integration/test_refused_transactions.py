"""Transactions that are decided and refused: they move nothing, and the refusal is logged and can be proven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clearing.card_token import random_token
from clearing.clock import system_time
from clearing.contract.entry import decode_entry, timestamp_of
from clearing.model import MICROSECONDS_PER_DAY, CardToken, Instant, Outcome
from clearing.v1 import merchant_gateway_pb2, presentment_pb2
from clearing.v1.entry_pb2 import Receipt
from tests.integration.alliance import Alliance, founded
from tests.integration.bad_scene import MINUTE, Scene
from tests.integration.observation import balances, untouched

POINTS_MAX = 1_000_000_000
BALANCE_MAX = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class Till:
    """The scene's card, now with 130 points and a history, and a card that can hold no more."""

    alliance: Alliance
    card: CardToken
    full_card: CardToken

    def of(self, merchant: str, card: str | None = None, **fields: Any) -> presentment_pb2.Transaction:
        return self.alliance.transaction(merchant, card or self.card, **fields)

    def refund(self, original: str, *, merchant: str = "bakery", **fields: Any) -> presentment_pb2.Transaction:
        refund = presentment_pb2.Refund(original_reference=original, points=fields.pop("points", None))
        return self.of(merchant, refund=refund, **fields)

    def at(self, microseconds: int) -> Timestamp:
        return timestamp_of(Instant(self.alliance.now + microseconds))

    def proof(self, merchant: str, reference: str) -> Receipt:
        request = merchant_gateway_pb2.GetTransactionRequest(reference=reference)
        metadata = self.alliance.authorization(self.alliance.keys[merchant])
        return self.alliance.merchants.GetTransaction(request, metadata=metadata).receipt


@pytest.fixture(scope="module")
def till(scene: Scene) -> Till:
    """A till with a history."""
    alliance = scene.alliance
    full_card = alliance.open_card("bakery")
    for part in range(2):
        earns = [scene.earn(POINTS_MAX, card_token=full_card, reference=f"full-{part}-{n}") for n in range(500)]
        assert {result.outcome for result in alliance.present("bakery", *earns)} == {Outcome.ACCEPTED}
    alliance.earn("bakery", scene.card, 30, reference="earned")
    alliance.earn("bakery", scene.card, 20, reference="taken-back")
    alliance.refund("bakery", scene.card, "taken-back", reference="the-refund")
    alliance.earn("bakery", scene.card, 5, reference="refused", store="nowhere")
    return Till(alliance, scene.card, full_card)


EARN, EARN_MOST = presentment_pb2.Earn(points=1), presentment_pb2.Earn(points=POINTS_MAX)
BURN, BURN_MOST = presentment_pb2.Burn(points=131), presentment_pb2.Burn(points=POINTS_MAX)
OPEN = presentment_pb2.OpenCard()
LATE = -8 * MICROSECONDS_PER_DAY

REFUSALS: Sequence[tuple[Outcome, str, Callable[[Till], presentment_pb2.Transaction]]] = (
    (Outcome.UNKNOWN_CARD, "bakery", lambda t: t.of("bakery", random_token(), earn=EARN)),
    (Outcome.UNKNOWN_CARD, "bakery", lambda t: t.of("bakery", random_token(), burn=BURN)),
    (Outcome.UNKNOWN_CARD, "bakery", lambda t: t.refund("earned", card=random_token())),
    (Outcome.CARD_EXISTS, "bakery", lambda t: t.of("bakery", open_card=OPEN)),
    (Outcome.UNKNOWN_STORE, "bakery", lambda t: t.of("bakery", store="moon-1", earn=EARN)),
    (Outcome.STORE_OF_ANOTHER_MERCHANT, "bakery", lambda t: t.of("bakery", store="cinema-1", earn=EARN)),
    (Outcome.UNKNOWN_UNIT, "bakery", lambda t: t.of("bakery", unit="EUR", earn=EARN)),
    (Outcome.OCCURRED_IN_FUTURE, "bakery", lambda t: t.of("bakery", occurred_at=t.at(6 * MINUTE), earn=EARN)),
    (Outcome.LATE_PRESENTMENT, "bakery", lambda t: t.of("bakery", occurred_at=t.at(LATE), earn=EARN)),
    (Outcome.INSUFFICIENT_POINTS, "cinema", lambda t: t.of("cinema", burn=BURN)),
    (Outcome.INSUFFICIENT_POINTS, "cinema", lambda t: t.of("cinema", burn=BURN_MOST)),
    (Outcome.BALANCE_LIMIT_EXCEEDED, "bakery", lambda t: t.of("bakery", t.full_card, earn=EARN)),
    (Outcome.BALANCE_LIMIT_EXCEEDED, "cinema", lambda t: t.of("cinema", t.full_card, earn=EARN_MOST)),
    (Outcome.UNKNOWN_ORIGINAL, "bakery", lambda t: t.refund("never-presented")),
    (Outcome.UNKNOWN_ORIGINAL, "cinema", lambda t: t.refund("earned", merchant="cinema")),
    (Outcome.ORIGINAL_OF_ANOTHER_CARD, "bakery", lambda t: t.refund("earned", card=t.full_card)),
    (Outcome.ORIGINAL_NOT_ACCEPTED, "bakery", lambda t: t.refund("refused")),
    (Outcome.ORIGINAL_NOT_REFUNDABLE, "bakery", lambda t: t.refund("the-refund")),
    (Outcome.ALREADY_REFUNDED, "bakery", lambda t: t.refund("taken-back")),
    (Outcome.REFUND_EXCEEDS_REMAINING, "bakery", lambda t: t.refund("earned", points=31)),
)


@pytest.mark.parametrize(("outcome", "merchant", "build"), REFUSALS)
def test_a_refused_transaction_moves_nothing_and_is_logged_and_provable(
    till: Till, outcome: Outcome, merchant: str, build: Callable[[Till], presentment_pb2.Transaction]
) -> None:
    transaction = build(till)
    with untouched(till.alliance.engine, entries_more=1):
        (result,) = till.alliance.present(merchant, transaction)
    assert (result.outcome, result.points, result.original_index) == (outcome, 0, None)
    proof = till.proof(merchant, transaction.reference)
    assert till.alliance.verified(proof).transaction_results == (result,)
    assert proof.replayed


def test_a_reference_reused_with_other_content_is_refused_and_the_original_stands(till: Till) -> None:
    with untouched(till.alliance.engine, entries_more=1):
        result = till.alliance.earn("bakery", till.card, 31, reference="earned")
    assert (result.outcome, result.points) == (Outcome.REFERENCE_REUSED, 0)
    (original,) = till.alliance.verified(till.proof("bakery", "earned")).transaction_results
    assert (original.outcome, original.points) == (Outcome.ACCEPTED, 30)


def test_an_atomic_presentment_with_one_refusal_moves_nothing(till: Till) -> None:
    transactions = [till.of("bakery", earn=EARN), till.of("bakery", burn=BURN_MOST), till.of("bakery", earn=EARN)]
    with untouched(till.alliance.engine, entries_more=1):
        results = till.alliance.present("bakery", *transactions, atomic=True)
    aborted, refused = Outcome.ATOMIC_ABORTED, Outcome.INSUFFICIENT_POINTS
    assert [result.outcome for result in results] == [aborted, refused, aborted]


def test_a_full_card_can_still_be_burned_from_and_refunded(till: Till) -> None:
    alliance = till.alliance
    before = balances(alliance.engine)
    burned = alliance.burn("cinema", till.full_card, POINTS_MAX, reference="from-full")
    assert (burned.outcome, burned.points_available) == (Outcome.ACCEPTED, BALANCE_MAX - POINTS_MAX)
    refunded = alliance.refund("cinema", till.full_card, "from-full")
    assert (refunded.outcome, refunded.points_available) == (Outcome.ACCEPTED, BALANCE_MAX)
    # All but the last line, which sums the postings.
    assert balances(alliance.engine).splitlines()[:-1] == before.splitlines()[:-1]


def test_under_the_system_clock_a_late_or_early_till_is_told_so(database_url: str) -> None:
    with founded(database_url, clock="CLOCK_SYSTEM", founded_days_ago=30) as alliance:
        alliance.admit("bakery")
        card = alliance.open_card("bakery")
        now = system_time()
        early, late = timestamp_of(Instant(now + 6 * MINUTE)), timestamp_of(Instant(now + LATE))
        with untouched(alliance.engine, entries_more=2):
            assert alliance.earn("bakery", card, 1, occurred_at=early).outcome is Outcome.OCCURRED_IN_FUTURE
            assert alliance.earn("bakery", card, 1, occurred_at=late).outcome is Outcome.LATE_PRESENTMENT
        # A presentment from the past is as good as any: it may have waited for a network.
        old = alliance.presentment("bakery", alliance.transaction("bakery", card, earn=EARN), presented_at=late)
        (receipt,) = alliance.submit(alliance.envelope(old))
        assert decode_entry(receipt.entry).accepted_at >= now
        assert decode_entry(receipt.entry).transaction_results[0].outcome is Outcome.ACCEPTED
