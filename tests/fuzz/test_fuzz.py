"""Mutated and random bytes at the gateway's handlers: only named refusals, nothing in the log, no growing memory.

A bounded share of what ``make fuzz`` does with a million inputs of another seed each time.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest
import structlog

from clearing.model import Outcome
from clearing.signing.keys import PrivateKey
from clearing.v1 import presentment_pb2
from tests.fuzz.generator import Generator
from tests.fuzz.harness import ANSWERED, Harness, actors_of
from tests.fuzz.wire import encoded, fields_of
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import complaints

SEED = 20_261_122
INPUTS = 20_000
WARM_UP_INPUTS = 14_000
GROWTH_BYTES_MAX = 3 * 1024 * 1024
"""Of six thousand inputs, some of which were instructions that became part of the directory."""


@pytest.fixture
def system_alliance(database_url: str) -> Iterator[Alliance]:
    """Under the system clock, since mutated times would drag a presented one along."""
    with founded(database_url, clock="CLOCK_SYSTEM") as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance
    structlog.reset_defaults()


def test_whatever_bytes_come_the_gateway_names_what_is_wrong_and_goes_on(system_alliance: Alliance) -> None:
    generator = Generator(actors_of(system_alliance, PrivateKey.generate()), SEED)
    harness = Harness(system_alliance)
    harness.run(generator, 0, WARM_UP_INPUTS)
    gc.collect()
    tracemalloc.start()
    try:
        harness.run(generator, WARM_UP_INPUTS, INPUTS)
        gc.collect()
        growth_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert growth_bytes < GROWTH_BYTES_MAX
    assert harness.complaints == []
    # It has gone deep: each method answered, and nearly every reason was heard.
    assert {method for method, what in harness.outcomes if what == ANSWERED} == {m for m, _ in harness.outcomes}
    assert len({what for _, what in harness.outcomes}) >= 18, harness.outcomes
    # And the gateway is as it was: it serves, and its books balance.
    card = system_alliance.open_card("bakery")
    earned = system_alliance.earn("bakery", card, 5)
    assert (earned.outcome, earned.points_available) == (Outcome.ACCEPTED, 5)
    assert complaints(system_alliance.engine) == []


def test_taking_a_message_apart_and_putting_it_together_gives_the_message() -> None:
    earn = presentment_pb2.Transaction(reference="r", earn=presentment_pb2.Earn(points=2**40))
    message = presentment_pb2.Presentment(origin="o", atomic=True, transactions=[earn]).SerializeToString()
    fields = fields_of(message)
    assert fields is not None
    assert encoded(fields) == message
    assert fields_of(message[:-1]) is None
