"""Properties of the rules over random months of presentments by a few merchants on a few cards."""

from __future__ import annotations

import random
from collections import Counter
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.model import (
    MICROSECONDS_PER_DAY,
    Burn,
    Earn,
    Instant,
    MerchantId,
    OpenCard,
    Outcome,
    Points,
    Reference,
    Refund,
    Transaction,
    TransactionKind,
)
from clearing.rules.movements import Account
from clearing.rules.presentment import PresentmentDecision
from tests.rules.script import World, card, play, transaction

MERCHANTS = ("a", "b", "c")
CARDS = ("C1", "C2")


class Wish(NamedTuple):
    """A transaction to present, before it is known what there is to refund."""

    kind: str
    token: str
    points: int | None
    which: int
    """Which of the merchant's earlier transactions is refunded, repeated or contradicted."""


class Step(NamedTuple):
    """A presentment, so many days after the one before."""

    merchant: str
    days: int
    atomic: bool
    wishes: list[Wish]


amounts = st.integers(1, 60)
wishes = st.one_of(
    st.builds(Wish, st.just("earn"), st.sampled_from(CARDS), amounts, st.just(0)),
    st.builds(Wish, st.just("burn"), st.sampled_from(CARDS), amounts, st.just(0)),
    st.builds(Wish, st.just("refund"), st.sampled_from(CARDS), st.none() | amounts, st.integers(0, 30)),
    st.builds(Wish, st.sampled_from(["repeat", "contradict"]), st.sampled_from(CARDS), amounts, st.integers(0, 30)),
)
days = st.sampled_from([0, 0, 0, 1, 20, 31, 70])
steps = st.lists(
    st.builds(Step, st.sampled_from(MERCHANTS), days, st.booleans(), st.lists(wishes, min_size=1, max_size=4)),
    min_size=1,
    max_size=14,
)
splits = steps.map(lambda each: [step._replace(atomic=False) for step in each])


def a_world(lot_lifetime_months: int = 1) -> World:
    """Cards that are open, and lots that live long enough to be spent and short enough to expire."""
    return play("a all: open o1 C1; open o2 C2", lot_lifetime_months=lot_lifetime_months, late_presentment_days=366)


def wished(world: World, step: Step) -> list[Transaction]:
    """The step's transactions, each under a reference of its own unless it repeats or contradicts one."""
    transactions: list[Transaction] = []
    for place, wish in enumerate(step.wishes):
        earlier = [each for (merchant, _), each in world.presented.items() if merchant == step.merchant]
        earlier += transactions
        reference = f"t{world.index}-{place}"
        token = card(wish.token)
        match wish.kind:
            case "refund" if earlier:
                original = earlier[wish.which % len(earlier)]
                points = None if wish.points is None else Points(wish.points)
                token, kind = original.card, Refund(original.reference, points)
                transactions.append(transaction(reference, token, f"{step.merchant}-1", world.now, kind))
            case "repeat" if earlier:
                transactions.append(earlier[wish.which % len(earlier)])
            case "contradict" if earlier:
                again = earlier[wish.which % len(earlier)].reference
                transactions.append(transaction(again, token, f"{step.merchant}-1", world.now, OpenCard()))
            case "burn":
                burned = Burn(Points(wish.points or 1))
                transactions.append(transaction(reference, token, f"{step.merchant}-1", world.now, burned))
            case _:
                earned = Earn(Points(wish.points or 1), None)
                transactions.append(transaction(reference, token, f"{step.merchant}-1", world.now, earned))
    return transactions


def run(world: World, chosen: list[Step]) -> list[tuple[Step, list[Transaction]]]:
    """Present all steps; ``World.present`` checks purity and the invariants each time."""
    presented = []
    for step in chosen:
        world.now = Instant(world.now + step.days * MICROSECONDS_PER_DAY)
        transactions = wished(world, step)
        world.present(step.merchant, transactions, atomic=step.atomic)
        presented.append((step, transactions))
    return presented


def net_of(world: World, kind: TransactionKind) -> Counter[tuple[str, str]]:
    """Points of the accepted earns or burns less what was refunded of them, by merchant and card."""
    net: Counter[tuple[str, str]] = Counter()
    for recorded in world.ledger.transactions.values():
        if recorded.kind is kind and recorded.result.outcome is Outcome.ACCEPTED:
            net[recorded.merchant, recorded.card] += recorded.result.points - recorded.points_refunded
    return net


@given(steps)
@settings(max_examples=120)
def test_a_reference_once_decided_keeps_its_decision(chosen: list[Step]) -> None:
    world = a_world()
    for step in chosen:
        before = dict(world.ledger.transactions)
        size = world.index
        ((_, transactions),) = run(world, [step])
        for key, recorded in before.items():
            after = world.ledger.transactions[key]
            assert after._replace(points_refunded=recorded.points_refunded) == recorded
            assert after.points_refunded >= recorded.points_refunded
        new = {key: each for key, each in world.ledger.transactions.items() if key not in before}
        assert {reference for _, reference in new} <= {each.reference for each in transactions}
        assert all(each.entry_index == size and each.points_refunded <= each.result.points for each in new.values())


@given(steps)
@settings(max_examples=80)
def test_presenting_everything_again_changes_nothing(chosen: list[Step]) -> None:
    world = a_world()
    presented = run(world, chosen)
    world.now = Instant(world.now + 40 * MICROSECONDS_PER_DAY)
    before = (dict(world.ledger.cards), dict(world.ledger.transactions))
    for step, transactions in reversed(presented):
        decision = world.present(step.merchant, transactions, atomic=step.atomic)
        if isinstance(decision, PresentmentDecision):
            for each, result in zip(transactions, decision.results, strict=True):
                recorded = world.ledger.transactions[MerchantId(step.merchant), each.reference]
                if each.content_digest == recorded.content_digest:
                    again = recorded.result._replace(original_index=recorded.entry_index)
                    assert result == again
                else:
                    assert result.outcome is Outcome.REFERENCE_REUSED
            assert decision.changes.cards == {}
            assert decision.changes.transactions == {}
            assert decision.changes.postings == ()
    assert (world.ledger.cards, world.ledger.transactions) == before


@given(splits)
@settings(max_examples=80)
def test_a_presentment_split_into_single_ones_comes_to_the_same(chosen: list[Step]) -> None:
    whole, single = a_world(), a_world()
    for step in chosen:
        ((_, transactions),) = run(whole, [step])
        single.now = whole.now
        for each in transactions:
            single.present(step.merchant, [each])
    assert single.ledger.cards == whole.ledger.cards
    assert {account: single.books.balances(account) for account in Account} == {
        account: whole.books.balances(account) for account in Account
    }
    for key, recorded in whole.ledger.transactions.items():
        other = single.ledger.transactions[key]
        assert other._replace(entry_index=recorded.entry_index, position=recorded.position) == recorded


@given(steps)
@settings(max_examples=80)
def test_replaying_the_log_rebuilds_the_ledger(chosen: list[Step]) -> None:
    world = a_world()
    presented = run(world, chosen)
    again = a_world()
    for step, transactions in presented:
        again.now = Instant(again.now + step.days * MICROSECONDS_PER_DAY)
        again.present(step.merchant, transactions, atomic=step.atomic)
    assert (again.ledger, again.directory) == (world.ledger, world.directory)


@given(steps)
@settings(max_examples=120)
def test_no_order_makes_or_loses_points_on_a_card(chosen: list[Step]) -> None:
    world = a_world()
    run(world, chosen)
    earned, burned = net_of(world, TransactionKind.EARN), net_of(world, TransactionKind.BURN)
    for token, each in world.ledger.cards.items():
        net = sum(earned[merchant, token] - burned[merchant, token] for merchant in MERCHANTS)
        expired = sum(lot.points_expired for lot in each.lots.values())
        assert each.points_in_lots - each.points_owed() + expired == net


@given(steps)
@settings(max_examples=120)
def test_no_order_makes_or_loses_points_of_a_merchant(chosen: list[Step]) -> None:
    """A merchant is owed what it redeemed, less what it issued that is neither open nor expired nor still due to it."""
    world = a_world()
    run(world, chosen)
    earned, burned = net_of(world, TransactionKind.EARN), net_of(world, TransactionKind.BURN)
    owed = world.books.balances(Account.OWED)
    for name in MERCHANTS:
        merchant = MerchantId(name)
        position = sum(
            owed.get((MerchantId(other), merchant), 0) - owed.get((merchant, MerchantId(other)), 0)
            for other in MERCHANTS
        )
        cards = world.ledger.cards.values()
        open_points = sum(lot.points for each in cards for key, lot in each.lots.items() if key.issuer == merchant)
        debts = sum(each.debts.get(merchant, 0) for each in cards)
        redeemed = sum(points for (at, _), points in burned.items() if at == merchant)
        issued = sum(points for (by, _), points in earned.items() if by == merchant)
        expired = world.books.balances(Account.EXPIRED).get(merchant, 0)
        assert position == redeemed - issued + expired + open_points - debts


earns_and_burns = st.lists(
    st.builds(
        Step,
        st.sampled_from(MERCHANTS),
        days,
        st.just(False),
        st.lists(
            st.builds(Wish, st.sampled_from(["earn", "burn"]), st.just("C1"), amounts, st.just(0)),
            min_size=1,
            max_size=2,
        ),
    ),
    min_size=1,
    max_size=8,
)


@given(earns_and_burns, st.randoms(use_true_random=False), days)
@settings(max_examples=200)
def test_refunding_everything_in_any_order_leaves_no_one_with_anything(
    chosen: list[Step], shuffled: random.Random, days_between: int
) -> None:
    world = a_world(lot_lifetime_months=120)  # what expires in between is lost and stays so
    run(world, chosen)
    originals = [
        recorded
        for recorded in world.ledger.transactions.values()
        if recorded.kind is not TransactionKind.OPEN_CARD and recorded.result.outcome is Outcome.ACCEPTED
    ]
    shuffled.shuffle(originals)
    for number, original in enumerate(originals):
        world.now = Instant(world.now + days_between * MICROSECONDS_PER_DAY)
        kind = Refund(original.reference, None)
        refund = transaction(f"back-{number}", original.card, f"{original.merchant}-1", world.now, kind)
        decision = world.present(original.merchant, [refund])
        assert isinstance(decision, PresentmentDecision)
        assert decision.results[0].outcome is Outcome.ACCEPTED
    touched = world.ledger.cards[card("C1")]
    assert touched.points_owed() == 0
    assert touched.points_in_lots == 0
    owed = world.books.balances(Account.OWED)
    for merchant in MERCHANTS:
        assert sum(points for (by, _), points in owed.items() if by == merchant) == sum(
            points for (_, at), points in owed.items() if at == merchant
        )


@given(
    st.lists(st.tuples(st.sampled_from(MERCHANTS), amounts, days), min_size=1, max_size=10),
    st.randoms(use_true_random=False),
    days,
)
@settings(max_examples=80)
def test_earns_all_refunded_leave_nothing_issued(
    earns: list[tuple[str, int, int]], shuffled: random.Random, days_between: int
) -> None:
    world = a_world()
    run(world, [Step(merchant, gap, False, [Wish("earn", "C1", points, 0)]) for merchant, points, gap in earns])
    originals = [each for each in world.ledger.transactions.values() if each.kind is TransactionKind.EARN]
    shuffled.shuffle(originals)
    for number, original in enumerate(originals):
        world.now = Instant(world.now + days_between * MICROSECONDS_PER_DAY)
        kind = Refund(Reference(original.reference), None)
        world.present(
            original.merchant, [transaction(f"r{number}", original.card, f"{original.merchant}-1", world.now, kind)]
        )
    assert all(world.books.balances(account) == {} for account in Account)
    assert world.ledger.cards[card("C1")].lots == {}
