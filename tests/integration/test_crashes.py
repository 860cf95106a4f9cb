"""SIGKILL at random instants under load: nothing acknowledged is lost, nothing is there twice.

A bounded share of what ``make torture`` does with some hundred kills of another seed each time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crashes import endure
from tests.integration.house import Blow, House, house

SEED = int(os.environ.get("CRASHES_SEED", "20261122"))
"""Of the instants, of what is killed, and of what the tills present."""


@pytest.fixture
def a_house(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as standing:
        yield standing


def test_a_gateway_killed_at_random_instants_loses_and_doubles_nothing(a_house: House) -> None:
    blows = [Blow.GATEWAY] * 22 + [Blow.HELPERS] * 4
    random.Random(SEED).shuffle(blows)
    endure(a_house, blows, SEED, print)


def test_a_database_killed_at_random_instants_loses_and_doubles_nothing(a_house: House) -> None:
    blows = [Blow.POSTGRES] * 11 + [Blow.BACKEND] * 5 + [Blow.POSTMASTER] * 3 + [Blow.MACHINE] * 3
    random.Random(SEED).shuffle(blows)
    endure(a_house, blows, SEED, print)
