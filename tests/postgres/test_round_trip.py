"""What is recorded and loaded again is what was decided, whatever merchants present."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from clearing.model import (
    Burn,
    Earn,
    ExpireLots,
    Instruction,
    MerchantId,
    OpenCard,
    Outcome,
    Points,
    Presentment,
    Reference,
    Refund,
    StoreId,
    TransactionDetails,
)
from clearing.postgres.database import snapshot
from clearing.postgres.reading.books import check_books
from clearing.postgres.reading.load import load_ledger
from clearing.postgres.reading.log_reads import read_tile
from clearing.postgres.tables import metadata
from clearing.rules.ledger import Ledger
from tests.postgres.stored_alliance import BAKERY, CARDS, CINEMA, MERCHANTS, Message, StoredAlliance, transaction

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))


class Wish(NamedTuple):
    """One transaction as it is drawn; whole numbers choose among what there is."""

    kind: str
    merchant: int
    card: int
    points: int
    original: int


class Step(NamedTuple):
    """One batch: presentments of wishes, after some days."""

    days: int
    presentments: list[list[Wish]]
    atomic: bool
    expire: bool


wishes = st.builds(
    Wish,
    st.sampled_from(["earn", "earn", "burn", "burn", "refund", "refund", "open", "reused reference"]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(1, 50),
    st.integers(0, 1000),
)
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([0, 0, 1, 35, 80]),
        st.lists(st.lists(wishes, min_size=1, max_size=4), min_size=1, max_size=5),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps)
def test_loading_gives_the_state_that_was_decided(engine: Engine, steps: list[Step]) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(metadata.tables.keys() - {'movements'})}"))
    alliance = StoredAlliance(engine)
    alliance.batch(*(alliance.one(BAKERY, f"open-{number}", card, OpenCard()) for number, card in enumerate(CARDS[:2])))
    for number, step in enumerate(steps):
        alliance.days_pass(step.days)
        messages = _messages(alliance, number, step)
        with engine.begin() as connection:
            loaded = alliance.load(connection, messages)
        assert loaded == _known(alliance.ledger, messages)
        alliance.batch(*messages)

    everything = [
        alliance.presentment(key[0], [transaction(key[0], key[1], recorded.card, OpenCard(), alliance.now)])
        for key, recorded in alliance.ledger.transactions.items()
    ]
    with snapshot(engine) as connection:
        loaded = alliance.load(connection, everything)
        assert loaded.transactions == alliance.ledger.transactions
        assert loaded.cards == {token: card for token, card in alliance.ledger.cards.items() if token in loaded.cards}
        assert check_books(connection) == []
        for tile in alliance.edge.partial_tiles():
            assert read_tile(connection, tile.level, tile.number) == tile.hashes


def _messages(alliance: StoredAlliance, number: int, step: Step) -> list[Message]:
    messages: list[Message] = [
        # Always one that is new, so that every batch has an entry.
        alliance.one(BAKERY, f"certain-{number}", CARDS[0], Earn(Points(5), 100)),
    ]
    for place, group in enumerate(step.presentments):
        merchant = MERCHANTS[group[0].merchant]
        presented = []
        for position, wish in enumerate(group):
            reference = f"{number}/{place}/{position}"
            known = [name for owner, name in alliance.ledger.transactions if owner == merchant] or [Reference("none")]
            earlier = known[wish.original % len(known)]
            points = Points(wish.points)
            kind: TransactionDetails
            match wish.kind:
                case "earn":
                    kind = Earn(points, None)
                case "burn":
                    kind = Burn(points)
                case "open":
                    kind = OpenCard()
                case "refund":
                    kind = Refund(earlier, points if wish.original % 2 else None)
                case _:
                    # Under a reference used before: the same content now and then, other content mostly.
                    reference, kind = earlier, Earn(Points(wish.points % 2 + 1), None)
            presented.append(transaction(merchant, reference, CARDS[wish.card], kind, alliance.now))
        messages.append(alliance.presentment(merchant, presented, atomic=step.atomic))
    if step.expire:
        messages.append(alliance.expire(f"expire-{number}", *CARDS[:2]))
        messages.append(alliance.expire("expire, once more", *CARDS[:3]))
        messages.append(alliance.expire("expire, once more", *CARDS[:2], merchant=BAKERY))
    return messages


def _known(ledger: Ledger, messages: list[Message]) -> Ledger:
    """The part of a whole ledger that these messages can touch."""
    cards = set()
    asked = set()
    for message in messages:
        if isinstance(message, Presentment):
            for each in message.transactions:
                cards.add(each.card)
                asked.add((message.merchant, each.reference))
                if isinstance(each.kind, Refund):
                    asked.add((message.merchant, each.kind.original_reference))
        elif isinstance(message.action, ExpireLots):
            cards.update(message.action.cards)
    instructions = {message.key for message in messages if isinstance(message, Instruction)}
    return Ledger(
        cards={token: card for token, card in ledger.cards.items() if token in cards},
        transactions={key: recorded for key, recorded in ledger.transactions.items() if key in asked},
        instructions={key: recorded for key, recorded in ledger.instructions.items() if key in instructions},
    )


def test_every_printable_character_of_a_reference_comes_back(engine: Engine) -> None:
    assert set(string.printable) - set(string.whitespace) | {" "} == set(PRINTABLE)
    references = [PRINTABLE[:64], PRINTABLE[64:], *PRINTABLE, "\\N", "\\.", "\\t", "NULL", '{"a","b"}', "'; --", " "]
    references = list(dict.fromkeys(references))
    alliance = StoredAlliance(engine)
    presentment = alliance.presentment(
        BAKERY,
        [transaction(BAKERY, "open", CARDS[0], OpenCard(), alliance.now)]
        + [transaction(BAKERY, each, CARDS[0], Earn(Points(1), None), alliance.now) for each in references],
    )
    assert set(alliance.batch(presentment)) == {Outcome.ACCEPTED}
    with snapshot(engine) as connection:
        loaded = alliance.load(connection, [presentment])
        stored = set(connection.scalars(text("SELECT reference FROM transactions")))
    assert loaded.transactions == alliance.ledger.transactions
    assert stored == {"open", *references}


def test_identifiers_with_every_printable_character_come_back_from_arrays(engine: Engine) -> None:
    # But for the semicolon, which stands between a transaction's lots. Identifiers are slugs: they hold far fewer.
    odd = MerchantId(PRINTABLE.replace(";", ""))
    alliance = StoredAlliance(engine)
    stores = {**alliance.directory.stores, StoreId(f"{odd}-1"): odd}
    alliance.directory = replace(alliance.directory, stores=stores)
    alliance.batch(
        alliance.one(odd, "open", CARDS[0], OpenCard()),
        alliance.one(odd, "earn", CARDS[0], Earn(Points(9), None)),
    )
    alliance.batch(alliance.one(CINEMA, "burn", CARDS[0], Burn(Points(4))))
    alliance.batch(alliance.one(odd, "refund", CARDS[0], Refund(Reference("earn"), None)))
    with snapshot(engine) as connection:
        loaded = alliance.load(connection, [alliance.one(odd, "earn", CARDS[0], OpenCard())])
        assert loaded.cards[CARDS[0]] == alliance.ledger.cards[CARDS[0]]
        assert loaded.cards[CARDS[0]].debts == {odd: 4}
        assert loaded.transactions[(odd, Reference("earn"))].points_refunded == 9
        assert check_books(connection) == []


def test_refunding_another_cards_transaction_is_known_as_such(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(
        alliance.one(BAKERY, "open-0", CARDS[0], OpenCard()),
        alliance.one(BAKERY, "open-1", CARDS[1], OpenCard()),
        alliance.one(BAKERY, "earn", CARDS[0], Earn(Points(9), None)),
    )
    refund = alliance.one(BAKERY, "refund", CARDS[1], Refund(Reference("earn"), None))
    assert alliance.batch(refund) == [Outcome.ORIGINAL_OF_ANOTHER_CARD]


def test_cards_at_hand_are_taken_over_and_not_loaded(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "open", CARDS[0], OpenCard()))
    message = alliance.one(BAKERY, "earn", CARDS[0], Earn(Points(9), None))
    at_hand = alliance.ledger.cards[CARDS[0]].with_debt_added(CINEMA, 3)
    with snapshot(engine) as connection:
        loaded = load_ledger(
            connection, presentments=[message], instructions=[], known_cards={CARDS[0]: at_hand, CARDS[1]: at_hand}
        )
    assert loaded.cards == {CARDS[0]: at_hand}


def test_what_was_decided_in_a_batch_not_yet_committed_is_taken_over(engine: Engine) -> None:
    alliance = StoredAlliance(engine)
    alliance.batch(
        alliance.one(BAKERY, "open", CARDS[0], OpenCard()),
        alliance.one(BAKERY, "earn", CARDS[0], Earn(Points(9), None)),
    )
    uncommitted: list[Message] = [
        alliance.one(BAKERY, "refund", CARDS[0], Refund(Reference("earn"), Points(4))),
        alliance.expire("expire", CARDS[0]),
    ]
    with snapshot(engine) as connection:
        record, _ = alliance.decide(alliance.load(connection, uncommitted), uncommitted)
        following: list[Message] = [
            *uncommitted,
            alliance.one(BAKERY, "open", CARDS[0], OpenCard()),
            alliance.one(CINEMA, "refund", CARDS[0], Refund(Reference("earn"), None)),
            alliance.expire("expire, later", CARDS[0]),
        ]
        loaded = load_ledger(
            connection,
            presentments=[message for message in following if isinstance(message, Presentment)],
            instructions=[message for message in following if isinstance(message, Instruction)],
            known_cards=record.cards_after,
            known_transactions=record.transactions,
            known_instructions=record.instructions,
        )
    alliance.committed(record)
    assert loaded == _known(alliance.ledger, following)
    assert loaded.transactions[(BAKERY, Reference("earn"))].points_refunded == 4
