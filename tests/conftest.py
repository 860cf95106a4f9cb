"""What the tests share: one real PostgreSQL for the whole run, an empty database for each test that asks."""

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from clearing.postgres.embedded import server as embedded

# As the command does, before gRPC is first imported: its handlers for a fork may crash the commands of PostgreSQL.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every command that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine than about us.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres() -> Iterator[embedded.EmbeddedPostgres]:
    """A server of this test process's own, so that parallel test processes do not share one."""
    # Not pytest's own folder: pytest closes that to other users, and root runs the server as another user.
    with (
        tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder,
        embedded.start(Path(folder), durable=False) as server,
    ):
        yield server


@pytest.fixture
def database_url(postgres: embedded.EmbeddedPostgres) -> Iterator[str]:
    """SQLAlchemy URL of a new, empty database that nobody else uses; removed after the test."""
    with _new_database(postgres) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(postgres: embedded.EmbeddedPostgres) -> Iterator[str]:
    """The same, for all tests of a module."""
    with _new_database(postgres) as url:
        yield url


@contextmanager
def _new_database(postgres: embedded.EmbeddedPostgres) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
