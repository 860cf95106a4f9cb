"""Which references were used, as the writer remembers it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from clearing.model import Earn, MerchantId, OpenCard, Points, Reference
from clearing.postgres.database import open_engine, snapshot
from clearing.postgres.reading.ledger_reads import stream_references
from clearing.postgres.reading.load import TransactionKey
from clearing.postgres.reading.used_references import ReferenceReader, UsedReferences
from tests.postgres.stored_alliance import BAKERY, CARDS, CINEMA, StoredAlliance
from tests.waiting import wait_until

KEYS = st.tuples(st.text(max_size=8).map(MerchantId), st.text(max_size=8).map(Reference))


def key(number: int, merchant: MerchantId = BAKERY) -> TransactionKey:
    return merchant, Reference(f"till-{number}")


@given(used=st.lists(KEYS), others=st.sets(KEYS))
def test_a_reference_that_was_used_is_never_taken_for_a_new_one(
    used: list[TransactionKey], others: set[TransactionKey]
) -> None:
    references = UsedReferences()
    references.is_complete = True
    references.add(used)
    assert set(used) <= set(references.may_be_used(others | set(used)))


def test_new_references_are_seldom_taken_for_used_ones_and_are_each_merchants_own() -> None:
    references = UsedReferences()
    references.is_complete = True
    references.add(map(key, range(100_000)))
    assert len(references.may_be_used([key(number, CINEMA) for number in range(100_000)])) < 20
    assert len(references.may_be_used([key(number) for number in range(100_000)])) == 100_000


def test_until_all_are_read_any_reference_may_have_been_used() -> None:
    references = UsedReferences()
    references.add([key(1)])
    assert references.may_be_used([key(1), key(2)]) == [key(1), key(2)]


def test_threads_that_add_at_once_lose_nothing() -> None:
    references = UsedReferences()
    references.is_complete = True
    together = threading.Barrier(4)

    def add(first: int) -> None:
        together.wait()
        for number in range(first, first + 50_000, 100):
            references.add(map(key, range(number, number + 100)))

    threads = [threading.Thread(target=add, args=(first,)) for first in range(0, 200_000, 50_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(references.may_be_used([key(number) for number in range(200_000)])) == 200_000


@pytest.fixture
def alliance(engine: Engine) -> StoredAlliance:
    """Of two merchants, five references each, and one card."""
    alliance = StoredAlliance(engine)
    alliance.batch(alliance.one(BAKERY, "till-0", CARDS[0], OpenCard()))
    for number in range(1, 5):
        alliance.batch(alliance.one(BAKERY, f"till-{number}", CARDS[0], Earn(Points(1), None)))
    alliance.batch(*[alliance.one(CINEMA, f"till-{n}", CARDS[1], Earn(Points(1), None)) for n in range(10, 15)])
    return alliance


RECORDED = [*[key(number) for number in range(5)], *[key(number, CINEMA) for number in range(10, 15)]]


def test_all_references_are_streamed_whatever_was_decided(
    alliance: StoredAlliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearing.postgres.reading.ledger_reads.REFERENCES_PER_CHUNK", 3)
    with snapshot(alliance.engine) as connection:
        chunks = list(stream_references(connection))
    assert sorted(reference for chunk in chunks for reference in chunk) == sorted(RECORDED)
    assert max(map(len, chunks)) == 3


@pytest.fixture
def another_engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, application_name="reference reader")
    yield engine
    engine.dispose()


def test_the_reader_finds_those_of_earlier_writers(alliance: StoredAlliance, another_engine: Engine) -> None:
    reader = ReferenceReader(another_engine)
    wait_until(lambda: reader.used.is_complete)
    asked = [*RECORDED, key(99), key(0, CINEMA)]
    assert reader.used.may_be_used(asked) == RECORDED
    reader.close()


def test_the_reader_tries_again_where_the_database_hangs_up(alliance: StoredAlliance, another_engine: Engine) -> None:
    failures: list[str] = []

    @event.listens_for(another_engine, "before_cursor_execute")
    def hang_up(connection: object, cursor: object, statement: str, *_: object) -> None:
        if not failures:
            failures.append(statement)
            with alliance.engine.begin() as other:
                other.execute(
                    text(
                        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND application_name = 'reference reader'"
                    )
                )

    reader = ReferenceReader(another_engine)
    wait_until(lambda: reader.used.is_complete)
    assert failures
    assert reader.used.may_be_used([*RECORDED, key(99)]) == RECORDED
    reader.close()


def test_a_reader_that_is_stopped_early_does_not_claim_to_have_read_all(alliance: StoredAlliance) -> None:
    with alliance.engine.begin() as connection:
        connection.execute(text("LOCK TABLE transactions"))
        reader = ReferenceReader(alliance.engine)
        reader.stop()
    reader.close()
    assert not reader.used.is_complete
