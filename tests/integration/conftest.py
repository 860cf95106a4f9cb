"""Alliances to test with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from clearing.postgres.embedded.server import EmbeddedPostgres
from tests.integration.alliance import Alliance, founded
from tests.integration.bad_scene import Scene, set_scene


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    """An alliance of a bakery and a cinema under the presented clock, in January 2026."""
    with founded(database_url) as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance


@pytest.fixture(scope="module")
def shared_alliance(postgres: EmbeddedPostgres) -> Iterator[Alliance]:
    """The same, one for all tests of a module: each has cards and references of its own."""
    name = f"test_{uuid.uuid4().hex}"
    with founded(postgres.create_database(name)) as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def scene(shared_alliance: Alliance) -> Scene:
    """The module's alliance with bad keys beside the good ones."""
    return set_scene(shared_alliance)
