"""Reading the log and the ledger back."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from clearing.log.tiles import LARGEST_ENTRY_SIZE
from clearing.model import (
    Burn,
    Earn,
    EntryIndex,
    MerchantId,
    OpenCard,
    Outcome,
    Points,
    Reference,
    Refund,
    TransactionKind,
    WindowId,
)
from clearing.postgres.database import snapshot
from clearing.postgres.reading.flows import read_flows
from clearing.postgres.reading.ledger_reads import (
    ListedTransaction,
    list_transactions,
    read_card,
    read_transaction,
)
from clearing.postgres.reading.log_reads import (
    read_entries,
    read_entry,
    read_tile,
    read_window_starts,
    stream_entries,
    stream_instructions,
)
from clearing.rules.movements import Flow, Movement
from tests.postgres.stored_alliance import BAKERY, CARDS, CINEMA, StoredAlliance, record_batch, transaction


@pytest.fixture
def alliance(engine: Engine) -> StoredAlliance:
    """Three days of two merchants: opened, earned, burned, refunded, and two instructions."""
    alliance = StoredAlliance(engine)
    alliance.batch(
        alliance.presentment(
            BAKERY,
            [
                transaction(BAKERY, "open", CARDS[0], OpenCard(), alliance.now),
                transaction(BAKERY, "earn-1", CARDS[0], Earn(Points(100), 2500), alliance.now),
            ],
        ),
        alliance.expire("expire-1", CARDS[0]),
        alliance.one(CINEMA, "burn", CARDS[0], Burn(Points(30))),
    )
    alliance.days_pass(1)
    alliance.batch(
        alliance.one(BAKERY, "earn-2", CARDS[0], Earn(Points(50), None)),
        alliance.one(CINEMA, "refund", CARDS[0], Refund(Reference("burn"), Points(10))),
        alliance.one(CINEMA, "refused", CARDS[1], Burn(Points(1))),
    )
    alliance.days_pass(35)
    alliance.batch(alliance.expire("expire-2", CARDS[0]))
    return alliance


def test_a_card_reads_as_the_rules_left_it(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        assert read_card(connection, CARDS[0]) == alliance.ledger.cards[CARDS[0]]
        assert read_card(connection, CARDS[1]) is None


def test_a_transaction_is_found_by_merchant_and_reference(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        burn = read_transaction(connection, CINEMA, Reference("burn"))
        assert burn == alliance.ledger.transactions[(CINEMA, Reference("burn"))]
        assert burn is not None
        assert (burn.points_refunded, burn.lots[0].points) == (10, 30)
        assert read_transaction(connection, BAKERY, Reference("burn")) is None


def test_an_instructions_reference_is_not_a_transactions(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        assert read_transaction(connection, BAKERY, Reference("expire-1")) is None


def test_a_merchants_transactions_are_listed_page_by_page(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        whole = list_transactions(connection, BAKERY, limit=10)
        assert [listed.reference for listed in whole] == ["open", "earn-1", "earn-2"]
        pages: list[ListedTransaction] = []
        while page := list_transactions(connection, BAKERY, limit=1, after=pages[-1].place if pages else None):
            pages += page
        assert pages == whole
        first, *_, refused = list_transactions(connection, CINEMA, limit=10)
        assert first == ListedTransaction(
            EntryIndex(2),
            0,
            alliance.accepted_at(2),
            Reference("burn"),
            TransactionKind.BURN,
            Outcome.ACCEPTED,
            CARDS[0],
            first.store,
            Points(30),
            Points(10),
        )
        assert refused.outcome is Outcome.UNKNOWN_CARD
        assert list_transactions(connection, MerchantId("unknown"), limit=10) == []


def test_a_list_keeps_to_its_range_of_entries(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        listed = list_transactions(connection, CINEMA, limit=10, first_index=3, end_index=5)
    assert [each.reference for each in listed] == ["refund"]


def test_flows_sum_the_postings_of_a_range_of_entries(alliance: StoredAlliance) -> None:
    month = datetime.date(2026, 1, 1)
    with snapshot(alliance.engine) as connection:
        assert read_flows(connection, 0, 6) == [
            Flow(Movement.EARN, BAKERY, None, month, "PTS", Points(150)),
            Flow(Movement.BURN, BAKERY, CINEMA, month, "PTS", Points(30)),
            Flow(Movement.BURN_REFUNDED, BAKERY, CINEMA, month, "PTS", Points(10)),
        ]
        assert read_flows(connection, 3, 4) == [Flow(Movement.EARN, BAKERY, None, month, "PTS", Points(50))]
        assert read_flows(connection, 6, 100) == []
        assert read_flows(connection, 4, 4) == []


def test_entries_come_back_in_the_order_of_the_log(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        assert [entry.entry for entry in stream_entries(connection, 1, 100, chunk=2)] == [
            b"entry %d\x00\xff" % index for index in range(1, 7)
        ]
        assert [entry.entry_index for entry in stream_entries(connection, 2, 5, chunk=2)] == [2, 3, 4]
        assert list(stream_entries(connection, 3, 3)) == []
        assert [each.entry_index for each in read_entries(connection, [EntryIndex(5), EntryIndex(1)])] == [1, 5]
        entry = read_entry(connection, EntryIndex(3))
        assert entry is not None
        assert (entry.entry_index, entry.accepted_at) == (3, alliance.accepted_at(3))
        assert read_entry(connection, EntryIndex(7)) is None


def test_an_entry_as_long_as_the_log_takes_comes_back_whole(alliance: StoredAlliance) -> None:
    message = alliance.one(BAKERY, "earn-long", CARDS[0], Earn(Points(1), None))
    longest = bytes(range(256)) * 255 + bytes(255)
    with alliance.engine.begin() as connection:
        record, _ = alliance.decide(alliance.load(connection, [message]), [message])
        record_batch(connection, replace(record, entries=[record.entries[0]._replace(entry=longest)]))
    with snapshot(alliance.engine) as connection:
        stored = read_entry(connection, EntryIndex(7))
    assert stored is not None
    assert stored.entry == longest
    assert len(longest) == LARGEST_ENTRY_SIZE


def test_instructions_are_streamed_apart(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        assert [entry.entry_index for entry in stream_instructions(connection, chunk=1)] == [1, 6]


def test_windows_begin_at_the_first_entry_accepted_in_them(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        assert read_window_starts(connection) == {WindowId("2026-01"): 0, WindowId("2026-02"): 6}


def test_a_tile_is_there_as_far_as_it_has_grown(alliance: StoredAlliance) -> None:
    with snapshot(alliance.engine) as connection:
        assert read_tile(connection, 0, 0) == alliance.edge.tiles[0]
        assert read_tile(connection, 0, 1) is None
        assert read_tile(connection, 1, 0) is None
