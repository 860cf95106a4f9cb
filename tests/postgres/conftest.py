"""A migrated database for each test of the storage."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from clearing.postgres.database import open_engine
from clearing.postgres.migration import migrate


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections to an empty, migrated database."""
    engine = open_engine(database_url, application_name="storage tests")
    migrate(engine)
    yield engine
    engine.dispose()
