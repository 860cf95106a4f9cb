"""The books fold postings into the accounts of the movements, and violations name what does not hold."""

import datetime
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.model import MerchantId, Points, Reference
from clearing.rules.card import Card, Lot, LotKey
from clearing.rules.invariants import Books, violations
from clearing.rules.ledger import Ledger
from clearing.rules.movements import Account, Movement, Posting, credit_account, debit_account
from tests.rules.script import World, card, play

MONTH = datetime.date(2026, 1, 1)
LOT = LotKey(MerchantId("a"), datetime.date(2026, 1, 1), datetime.date(2027, 1, 31), "PTS")
A, B = MerchantId("a"), MerchantId("b")


def posting(
    movement: Movement, points: int, issuer: str = "a", redeemer: str | None = "b", token: str = "C1"
) -> Posting:
    return Posting(
        card(token),
        movement,
        MerchantId(issuer),
        None if redeemer is None else MerchantId(redeemer),
        LOT.expires_on,
        MONTH,
        Points(points),
        "PTS",
    )


def a_world() -> World:
    """Points in lots, owed, expired and in debt, all at once."""
    return play("""
        at 2026-01-05
        a all: open o1 C1; open o2 C2; open o3 C3; earn e1 C1 100; earn e2 C2 50; earn e3 C3 30
        b burn b1 C1 60
        a refund r1 C1 e1
        at 2027-02-01
        ops i1 expire C2 -> accepted expired=50
        b earn e1 C2 20
    """)


def test_a_sound_ledger_has_no_violations() -> None:
    world = a_world()
    assert violations(world.books, world.ledger) == []
    assert violations(Books(), Ledger()) == []
    assert world.books.balances(Account.ISSUED) == {"a": 80, "b": 20}
    assert world.books.balances(Account.OWED) == {("a", "b"): 60}
    assert world.books.balances(Account.EXPIRED) == {"a": 50}
    assert world.books.balances(Account.CARD) == {card("C2"): 20, card("C3"): 30}
    assert world.books.balances(Account.DEBT) == {(card("C1"), "a"): 60}


def with_lots(world: World, token: str, lots: dict[LotKey, Lot]) -> None:
    world.ledger.cards[card(token)] = Card(card(token), lots, world.ledger.cards[card(token)].debts)


def test_a_lot_that_no_posting_made_is_named_with_its_card_and_issuer() -> None:
    world = a_world()
    with_lots(world, "C3", {LOT: Lot(Points(31))})
    assert violations(world.books, world.ledger) == [
        f"card/{card('C3')} is 30 points and the card's lots hold 31",
        "issuer a: issued less owed less expired is -30 points, and its open lots less debts to it are -29",
    ]


def test_points_in_a_lot_of_the_wrong_issuer_are_found() -> None:
    world = a_world()
    with_lots(world, "C3", {LOT._replace(issuer=B): Lot(Points(30))})
    assert violations(world.books, world.ledger) == [
        "issuer a: issued less owed less expired is -30 points, and its open lots less debts to it are -60",
        "issuer b: issued less owed less expired is 20 points, and its open lots less debts to it are 50",
    ]


def test_a_negative_or_empty_lot_is_found() -> None:
    world = a_world()
    later = LOT._replace(expires_on=datetime.date(2027, 2, 28))
    with_lots(world, "C3", {LOT: Lot(Points(31)), later: Lot(Points(-1))})
    assert violations(world.books, world.ledger) == [
        f"card {card('C3')}: the lot of a, issued in 2026-01, to 2027-02-28 holds -1 points"
    ]
    with_lots(world, "C3", {LOT: Lot(Points(30)), later: Lot(Points(0))})
    assert violations(world.books, world.ledger) == [
        f"card {card('C3')}: the lot of a, issued in 2026-01, to 2027-02-28 holds 0 points"
    ]


def test_expired_points_that_lots_do_not_record_are_found() -> None:
    world = a_world()
    lots = {key: lot for key, lot in world.ledger.cards[card("C2")].lots.items() if lot.points}
    with_lots(world, "C2", lots)
    assert violations(world.books, world.ledger) == ["expired/a is 50 points, and lots record 0 as expired"]


@pytest.mark.parametrize(
    ("debts", "expected"),
    [
        ({"a": 59}, f"debt/{card('C1')}/a is 60 points and the card owes 59"),
        ({}, f"debt/{card('C1')}/a is 60 points and the card owes nothing"),
        ({"b": 60}, f"debt/{card('C1')}/b is 0 points and the card owes 60"),
    ],
)
def test_a_debt_that_differs_from_its_account_is_found(debts: dict[str, int], expected: str) -> None:
    world = a_world()
    world.ledger.cards[card("C1")] = Card(
        card("C1"), {}, {MerchantId(name): Points(points) for name, points in debts.items()}
    )
    assert expected in violations(world.books, world.ledger)


def test_a_card_that_is_gone_is_found() -> None:
    world = a_world()
    del world.ledger.cards[card("C3")]
    assert f"card/{card('C3')} is 30 points and there is no such card" in violations(world.books, world.ledger)


@pytest.mark.parametrize(
    ("movement", "expected"),
    [
        (Movement.BURN, f"card/{card('C1')} is -7 points, below zero"),
        (Movement.BURN_REFUNDED, "owed/a/b is -7 points, below zero"),
        (Movement.EXPIRY_REVERSED, "expired/a is -7 points, below zero"),
        (Movement.EARN_REFUNDED, "issued/a is -7 points, below zero"),
        (Movement.EARN_TO_DEBT, f"debt/{card('C1')}/a is -7 points, below zero"),
    ],
)
def test_an_account_below_zero_is_named(movement: Movement, expected: str) -> None:
    books = Books()
    books.add(posting(movement, 7))
    assert expected in violations(books, Ledger())


@pytest.mark.parametrize("points", [0, -5])
def test_a_posting_of_no_points_is_found(points: int) -> None:
    books = Books()
    books.add(posting(Movement.EARN, points))
    assert f"card {card('C1')}: a posting EARN moves {points} points" in violations(books, Ledger())


def test_a_refund_beyond_its_original_is_found() -> None:
    world = a_world()
    key = (A, Reference("e2"))
    world.ledger.transactions[key] = world.ledger.transactions[key]._replace(points_refunded=Points(51))
    assert violations(world.books, world.ledger) == ["transaction e2 of a: 51 of 50 points are refunded"]


def test_a_burn_that_was_not_taken_whole_is_found() -> None:
    world = a_world()
    key = (B, Reference("b1"))
    world.ledger.transactions[key] = world.ledger.transactions[key]._replace(lots=())
    assert violations(world.books, world.ledger) == [
        "transaction b1 of b: 60 points were burned and 0 taken out of lots"
    ]


postings = st.lists(
    st.builds(
        posting,
        st.sampled_from(Movement),
        st.integers(1, 1000),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["C1", "C2"]),
    )
)


@given(postings)
def test_balances_are_those_of_the_named_accounts(rows: list[Posting]) -> None:
    books = Books()
    by_name: Counter[str] = Counter()
    for row in rows:
        books.add(row)
        by_name[debit_account(row)] -= row.points
        by_name[credit_account(row)] += row.points
    for account in Account:
        # Debit balances: issued and debt; the others are credit balances.
        sign = -1 if account in (Account.ISSUED, Account.DEBT) else 1
        kind = account.split("/")[0]
        expected = sorted(sign * value for name, value in by_name.items() if name.split("/")[0] == kind and value)
        assert sorted(books.balances(account).values()) == expected
    assert not any(text.startswith("all accounts") for text in books.own_violations())


def test_many_cards_of_one_lot_are_in_order() -> None:
    books, ledger, row = Books(), Ledger(), posting(Movement.EARN, 1)
    tokens = [card(str(number)) for number in range(20_000)]
    for token in tokens:
        books.add(row._replace(card=token))
        ledger.cards[token] = Card(token, {LOT: Lot(Points(1))})
    assert violations(books, ledger) == []
