"""A replay that remembers only what can still be refunded: it accepts what an honest writer made, who remembers all,
and names what a dishonest one says of references."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.signed_log import SignedLog
from benchmarks.workload import FUNDED_AT
from clearing.audit.references import REFUSALS_BY_ORIGINAL
from clearing.audit.replay import Replay
from clearing.audit.replay_difference import ReplayDifference
from clearing.calendar import moment_of
from clearing.card_token import token_of_bytes
from clearing.deciding.decision import DecidedEntry
from clearing.model import (
    MICROSECONDS_PER_SECOND,
    CardToken,
    EntryIndex,
    Instant,
    MerchantId,
    Outcome,
    Points,
    Reference,
    refused,
)
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client import transactions

CARDS = [token_of_bytes(bytes([number]) * 16) for number in range(3)]
MERCHANTS = ("bakery", "cinema")


class Shop:
    """A log to present to, a second later each time."""

    def __init__(self) -> None:
        self.log = SignedLog(MERCHANTS)
        self.now = FUNDED_AT

    def present(self, *presented: Transaction, merchant: int = 0, atomic: bool = False) -> tuple[Outcome, ...]:
        """The outcomes; none where it was decided before."""
        self.now = Instant(self.now + MICROSECONDS_PER_SECOND)
        decided = self.log.present(self.log.members[merchant], presented, self.now, atomic=atomic)
        return tuple(result.outcome for result in decided.results) if isinstance(decided, DecidedEntry) else ()

    def open(self, reference: str, card: int = 0, *, merchant: int = 0) -> Transaction:
        return transactions.open_card(reference, CARDS[card], f"{MERCHANTS[merchant]}-1", moment_of(FUNDED_AT))

    def earn(self, reference: str, points: int, card: int = 0, *, merchant: int = 0) -> Transaction:
        return transactions.earn(reference, CARDS[card], f"{MERCHANTS[merchant]}-1", points, moment_of(FUNDED_AT))

    def burn(self, reference: str, points: int, card: int = 0, *, merchant: int = 0) -> Transaction:
        return transactions.burn(reference, CARDS[card], f"{MERCHANTS[merchant]}-1", points, moment_of(FUNDED_AT))

    def refund(
        self, reference: str, original: str, points: int | None = None, card: int = 0, *, merchant: int = 0
    ) -> Transaction:
        store = f"{MERCHANTS[merchant]}-1"
        return transactions.refund(reference, CARDS[card], store, original, moment_of(FUNDED_AT), points=points)


def replayed(leaves: Sequence[bytes]) -> Replay:
    """The replay of a whole log, closed."""
    with Replay(leaves.__getitem__) as replay:
        for leaf in leaves:
            replay.step(leaf)
        replay.finish()
    return replay


REFERENCES = st.sampled_from([f"r-{number}" for number in range(6)])


@st.composite
def some_transaction(draw: st.DrawFn) -> tuple[str, tuple[object, ...]]:
    kind = draw(st.sampled_from(["open", "earn", "earn", "burn", "refund", "refund"]))
    card = draw(st.sampled_from([0, 0, 0, 1, 2]))
    reference = draw(REFERENCES)
    if kind == "open":
        return kind, (reference, card)
    if kind == "refund":
        return kind, (reference, draw(REFERENCES), draw(st.sampled_from([None, 5, 10])), card)
    return kind, (reference, draw(st.sampled_from([5, 10])), card)


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0, 0, 1]), st.booleans(), st.lists(some_transaction(), min_size=1, max_size=4)),
        max_size=14,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_an_honest_writer_decides_is_accepted_and_what_is_remembered_can_still_be_refunded(
    presentments: list[tuple[int, bool, list[tuple[str, tuple[object, ...]]]]],
) -> None:
    shop = Shop()
    for merchant, atomic, presented in presentments:
        made = [getattr(shop, kind)(*arguments, merchant=merchant) for kind, arguments in presented]
        shop.present(*made, merchant=merchant, atomic=atomic)
    replay = replayed(shop.log.leaves)
    assert replay.ledger.cards == shop.log.ledger.cards
    assert replay.directory == shop.log.directory
    remembered = dict(replay.ledger.transactions)
    assert remembered == {
        key: recorded
        for key, recorded in shop.log.ledger.transactions.items()
        if recorded.kind.name in ("EARN", "BURN")
        and recorded.result.outcome is Outcome.ACCEPTED
        and recorded.points_refunded < recorded.result.points
    }


def test_a_reference_that_is_used_for_something_else_and_repeated_in_one_entry_is_both() -> None:
    shop = Shop()
    burn = shop.burn("burn", 10)
    shop.present(burn)
    assert shop.present(shop.open("burn"), burn) == (Outcome.REFERENCE_REUSED, Outcome.UNKNOWN_CARD)
    assert shop.present(burn, shop.open("burn")) == (Outcome.UNKNOWN_CARD, Outcome.REFERENCE_REUSED)
    replayed(shop.log.leaves)


def test_every_refusal_for_its_original_is_accepted_from_an_honest_writer_and_not_under_another_name() -> None:
    shop = Shop()
    shop.present(shop.open("open"), shop.open("open-1", 1), shop.earn("earn", 10))
    shop.present(shop.burn("burn", 10**8), shop.refund("back", "earn"))
    refunds = {
        Outcome.UNKNOWN_ORIGINAL: shop.refund("to-1", "never"),
        Outcome.ORIGINAL_OF_ANOTHER_CARD: shop.refund("to-2", "earn", card=1),
        Outcome.ORIGINAL_NOT_ACCEPTED: shop.refund("to-3", "burn"),
        Outcome.ORIGINAL_NOT_REFUNDABLE: shop.refund("to-4", "open"),
        Outcome.ALREADY_REFUNDED: shop.refund("to-5", "earn"),
    }
    assert tuple(refunds) == REFUSALS_BY_ORIGINAL
    for outcome, refund in refunds.items():
        honest = copy.deepcopy(shop)
        assert honest.present(refund) == (outcome,)
        replayed(honest.log.leaves)
        for other in REFUSALS_BY_ORIGINAL:
            if other is not outcome:
                lie(shop, refund, other)


def lie(shop: Shop, refund: Transaction, outcome: Outcome) -> None:
    """The writer says something else of the refund's original than what is so, and is found out."""
    lying = copy.deepcopy(shop)
    size = lying.log.size
    original = Reference(refund.refund.original_reference)
    key = MerchantId("bakery"), original
    truth = lying.log.ledger.transactions.pop(key, None)
    if outcome is not Outcome.UNKNOWN_ORIGINAL:
        made_up = (truth or lying.log.ledger.transactions[MerchantId("bakery"), Reference("earn")])._replace(
            card=CARDS[2] if outcome is Outcome.ORIGINAL_OF_ANOTHER_CARD else CardToken(refund.card_token),
            result=refused(Outcome.ACCEPTED)._replace(points=Points(10)),
            points_refunded=Points(10),
        )
        if outcome is Outcome.ORIGINAL_NOT_ACCEPTED:
            made_up = made_up._replace(result=refused(Outcome.INSUFFICIENT_POINTS))
        lying.log.ledger.transactions[key] = made_up._replace(
            kind=type(made_up.kind)["OPEN_CARD" if outcome is Outcome.ORIGINAL_NOT_REFUNDABLE else "EARN"]
        )
    assert lying.present(refund) == (outcome,)
    with pytest.raises(ReplayDifference, match=f"entry {size}: transaction 0: the log says {outcome.name}, and by"):
        replayed(lying.log.leaves)


def test_a_reference_decided_twice_is_named_though_nothing_of_it_is_remembered() -> None:
    shop = Shop()
    first = shop.log.size
    shop.present(shop.open("open"), shop.burn("twice", 10))
    shop.present(shop.earn("earn", 10))
    del shop.log.ledger.transactions[MerchantId("bakery"), Reference("twice")]
    assert shop.present(shop.earn("fine", 1), shop.burn("twice", 5)) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
    for _ in range(3):
        shop.present(shop.earn(f"more-{shop.log.size}", 1))
    with pytest.raises(
        ReplayDifference,
        match=f"entry {first + 2}: transaction 1: its reference 'twice' was decided in entry {first} already",
    ):
        replayed(shop.log.leaves)


def test_a_refund_of_itself_that_is_decided_twice_is_named() -> None:
    shop = Shop()
    itself = shop.refund("itself", "itself")
    shop.present(shop.open("open"))
    assert shop.present(itself) == (Outcome.UNKNOWN_ORIGINAL,)
    del shop.log.ledger.transactions[MerchantId("bakery"), Reference("itself")]
    size = shop.log.size
    assert shop.present(itself) == (Outcome.UNKNOWN_ORIGINAL,)
    with pytest.raises(ReplayDifference, match=f"entry {size}: transaction 0: "):
        replayed(shop.log.leaves)


def test_the_same_reference_of_two_merchants_is_no_repetition() -> None:
    shop = Shop()
    shop.present(shop.open("same"))
    shop.present(shop.open("same", 1, merchant=1), merchant=1)
    replayed(shop.log.leaves)


@pytest.mark.parametrize(
    ("forget", "what"),
    [
        (True, "its reference 'new' was not used before, and the log says so"),
        (False, "its reference 'burn' was decided in entry {first}, and with this content"),
    ],
)
def test_a_reference_that_the_log_calls_used_and_that_is_not_is_named(forget: bool, what: str) -> None:
    shop = Shop()
    first = shop.log.size
    burn = shop.burn("burn", 10)
    shop.present(shop.open("open"), burn)
    ledger = shop.log.ledger.transactions
    used = ledger[MerchantId("bakery"), Reference("burn")]._replace(content_digest=b"other")
    ledger[MerchantId("bakery"), Reference("new" if forget else "burn")] = used
    presented = shop.earn("new", 1) if forget else burn
    assert shop.present(presented) == (Outcome.REFERENCE_REUSED,)
    with pytest.raises(ReplayDifference, match=f"entry {first + 1}: transaction 0: {what.format(first=first)}"):
        replayed(shop.log.leaves)


@pytest.mark.parametrize("where", [lambda first: first + 1, lambda first: 0, lambda first: first + 9])
def test_a_repetition_that_names_an_entry_which_did_not_decide_it_is_named(where: Callable[[int], int]) -> None:
    shop = Shop()
    first = shop.log.size
    burn = shop.burn("burn", 10)
    shop.present(shop.open("open"), burn)
    shop.present(shop.earn("earn", 10))
    ledger = shop.log.ledger.transactions
    key = MerchantId("bakery"), Reference("burn")
    ledger[key] = ledger[key]._replace(entry_index=EntryIndex(where(first)))
    assert shop.present(burn, shop.earn("new", 1)) == (Outcome.INSUFFICIENT_POINTS, Outcome.ACCEPTED)
    with pytest.raises(ReplayDifference, match=f"entry {first + 2}: transaction 0: "):
        replayed(shop.log.leaves)


def test_a_repetition_with_another_result_is_named() -> None:
    shop = Shop()
    burn = shop.burn("burn", 10)
    shop.present(shop.open("open"), burn)
    ledger = shop.log.ledger.transactions
    key = MerchantId("bakery"), Reference("burn")
    ledger[key] = ledger[key]._replace(result=refused(Outcome.UNKNOWN_CARD))
    shop.present(burn, shop.earn("new", 1))
    with pytest.raises(ReplayDifference, match=r"transaction 0: the log says .*UNKNOWN_CARD.*the rules"):
        replayed(shop.log.leaves)


def test_a_refund_accepted_once_too_often_is_named() -> None:
    shop = Shop()
    shop.present(shop.open("open"), shop.earn("earn", 10), shop.earn("more", 20))
    shop.present(shop.refund("back", "earn"))
    ledger = shop.log.ledger.transactions
    key = MerchantId("bakery"), Reference("earn")
    ledger[key] = ledger[key]._replace(points_refunded=Points(0))
    assert shop.present(shop.refund("again", "earn")) == (Outcome.ACCEPTED,)
    with pytest.raises(ReplayDifference, match=r"transaction 0: the log says .*ACCEPTED"):
        replayed(shop.log.leaves)
