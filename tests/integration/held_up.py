"""A gateway whose batches wait: what is handed in meanwhile is where a test needs it, on a machine of any speed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import sqlalchemy

from clearing.card_token import random_token
from clearing.deciding.authentication import authenticate_presentment
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.presentment_pb2 import Earn
from clearing.writer.pool import Reply
from clearing.writer.writer import AHEAD_TRANSACTIONS_MIN
from tests.database_sessions import sessions_waiting
from tests.integration.alliance import Alliance
from tests.waiting import wait_until


def execute(engine: sqlalchemy.Engine, statement: str) -> int:
    """The number a statement comes to, in a transaction of its own."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return int(connection.scalar(sqlalchemy.text(statement)) or 0)


@contextmanager
def held_up(alliance: Alliance) -> Iterator[None]:
    """Within the block no batch commits: another transaction holds the head."""
    with alliance.engine.begin() as connection:
        # However long the block takes: the database ends a transaction of ours that does nothing for half a minute.
        connection.execute(sqlalchemy.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(sqlalchemy.text("SELECT FROM log_head FOR UPDATE"))
        yield


def is_held_up(alliance: Alliance) -> bool:
    """Whether a batch waits for the head."""
    return sessions_waiting(alliance.engine) == 1


def hand_in(alliance: Alliance, *envelopes: Envelope) -> Future[list[Reply]]:
    """The replies to a call of these; it is in the pool, or has been, when this returns."""
    directory = alliance.gateway.writer.directory
    assert directory is not None
    return alliance.gateway.writer.submit([authenticate_presentment(envelope, directory) for envelope in envelopes])


def decided_ahead(alliance: Alliance, *envelopes: Envelope) -> Future[list[Reply]]:
    """The same, decided upon the batch that is held up, with so much beside them that this is worth it.

    One batch is decided ahead at most, so what is handed in from now on stays in the pool while that one is held up.
    """
    many = [alliance.transaction("cinema", random_token(), earn=Earn(points=1)) for _ in range(AHEAD_TRANSACTIONS_MIN)]
    replies = hand_in(alliance, *envelopes, alliance.envelope(alliance.presentment("cinema", *many)))
    wait_until(lambda: alliance.gateway.writer.transactions_waiting == 0)
    return replies
