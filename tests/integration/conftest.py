"""Alliances to test with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.alliance import Alliance, founded


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    """An alliance of a bakery and a cinema under the presented clock, in January 2026."""
    with founded(database_url) as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance
