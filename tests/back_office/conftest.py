"""Alliances that were founded and are served by the command itself."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearing.postgres.embedded.server import EmbeddedPostgres
from tests.back_office.installation import Installation

ORIGIN = "cards.example/log"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home folder that does not exist yet. Not pytest's own: root runs the embedded server as another user."""
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        yield Path(folder) / "home"


@pytest.fixture
def installation(home: Path) -> Installation:
    """Nothing founded yet, and no gateway."""
    return Installation(home)


@pytest.fixture(scope="module")
def four_eyes(postgres: EmbeddedPostgres) -> Iterator[Installation]:
    """An alliance of two operators under the system clock, served, on a database that the settings name."""
    name = f"test_{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        installed = Installation(
            Path(folder) / "home", settings={"CLEARING_DATABASE_URL": postgres.create_database(name)}
        )
        installed.done("init", ORIGIN, "--four-eyes", "--operator", "anna", "--operator", "ben")
        with installed.serving():
            yield installed
    postgres.drop_database(name)
