"""What a test sees from outside: how a call was refused, and whether the ledger was touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import grpc
import pytest
import sqlalchemy
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from clearing.postgres.database import snapshot
from clearing.postgres.reading.books import check_books

BALANCES = """
SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM (
    SELECT concat_ws(' ', 'lot', card, unit, issuer, expires_on, points, points_expired) AS line FROM lots
    UNION ALL SELECT concat_ws(' ', 'debt', card, unit, creditor, points) FROM debts
    UNION ALL SELECT concat_ws(' ', 'card', card) FROM cards
    UNION ALL SELECT concat_ws(' ', 'postings', count(*), sum(points)) FROM postings
) AS lines
"""
LOG_SIZE = "SELECT coalesce(max(size), 0) FROM log_head"


class Refusal(NamedTuple):
    """How a call failed."""

    code: grpc.StatusCode
    reason: str
    domain: str
    field: str
    """Of ``BadRequest``; empty where no field is named."""
    envelope_index: str
    """Of ``ErrorInfo``'s metadata; empty where none is named."""
    is_retriable: bool
    """Whether ``RetryInfo`` says when to send again."""


def refusal(call: Callable[[], object]) -> Refusal:
    """How this call, which must fail, fails."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return refusal_of(raised.value)


def refusal_of(error: grpc.RpcError) -> Refusal:
    """What a failed call's status says."""
    call = cast(grpc.Call, error)  # grpcio raises the failed call itself
    status = rpc_status.from_call(call)
    assert status is not None, f"without details: {call.code()} {call.details()}"
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    is_retriable = False
    for detail in status.details:
        for message in (info, bad_request, retry):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
                is_retriable = is_retriable or message is retry
    fields = [violation.field for violation in bad_request.field_violations]
    return Refusal(
        call.code(), info.reason, info.domain, ",".join(fields), info.metadata.get("envelope_index", ""), is_retriable
    )


def log_size(engine: sqlalchemy.Engine) -> int:
    """Entries in the stored log."""
    with engine.connect() as connection:
        return int(connection.scalar(sqlalchemy.text(LOG_SIZE)) or 0)


def balances(engine: sqlalchemy.Engine) -> str:
    """Every card's lots and debts, and the sum of all postings."""
    with engine.connect() as connection:
        return str(connection.scalar(sqlalchemy.text(BALANCES)))


def complaints(engine: sqlalchemy.Engine) -> list[str]:
    """What does not balance in the stored books."""
    with snapshot(engine) as connection:
        return check_books(connection)


@contextmanager
def untouched(engine: sqlalchemy.Engine, *, entries_more: int = 0) -> Iterator[None]:
    """What happens within changes no balance, adds so many entries to the log, and leaves the books balanced."""
    balances_before, size_before = balances(engine), log_size(engine)
    yield
    assert balances(engine) == balances_before
    assert log_size(engine) == size_before + entries_more
    assert complaints(engine) == []
