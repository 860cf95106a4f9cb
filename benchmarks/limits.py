"""What the machine could do at best: the figures that the others are ratios of."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import grpc
import sqlalchemy

from benchmarks.envelopes import CallMaker
from benchmarks.errors import BenchFailedError
from benchmarks.load import END_SECONDS, LoadClients
from benchmarks.workload import SIGNED_SINGLES, UNARY, Population, Stock
from clearing.card_token import random_token
from clearing.model import KeyId
from clearing.postgres.bulk import copy_in, copy_of_rows, driver_cursor
from clearing.signing.envelope import pre_authentication_encoding
from clearing.signing.keys import PrivateKey, signature_holds
from clearing.v1.merchant_gateway_pb2 import SubmitRequest
from merchant_gateway.server.admission import SUBMITS_MAX

ROWS_PER_COMMIT: Final = 2_000
"""As the writer's batches."""
COPIED_TABLE: Final = """
CREATE TABLE bench_copied (
    card text, entry_index bigint, merchant text, reference text, kind smallint, points bigint, decided_on date,
    PRIMARY KEY (card, entry_index)
)
"""
SERVICE: Final = "clearing.bench.Empty"
METHOD: Final = "Call"


@dataclass(frozen=True, slots=True)
class Limits:
    """Each by itself, with nothing else to do."""

    verify_per_second_per_core: float
    """Ed25519 signatures of presentments of one transaction, checked on one thread."""
    empty_unary_per_second: float
    """Calls with empty messages, to a server and from clients like those of the measures."""
    copy_rows_per_second: float
    """Rows like a transaction's, by COPY into one table with a primary key, committed durably as in a batch."""


def measure_limits(population: Population, clients: LoadClients, engine: sqlalchemy.Engine, seconds: float) -> Limits:
    """All three, for about so many seconds each."""
    return Limits(_verify(population, seconds), _empty_unary(clients, seconds), _copy(engine, seconds))


def _verify(population: Population, seconds: float) -> float:
    (call,) = CallMaker(population, process=0, processes=1).calls(Stock(SIGNED_SINGLES, calls=1))
    keys = {key.key_id: key.public_key for key in (PrivateKey(member.seed) for member in population.members)}
    signed = [
        (
            keys[KeyId(signature.keyid)],
            pre_authentication_encoding(envelope.payload_type, envelope.payload),
            signature.sig,
        )
        for envelope in SubmitRequest.FromString(call).envelopes
        for signature in envelope.signatures
    ]
    checked = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        assert all(signature_holds(*each) for each in signed), "the bench signed them itself"
        checked += len(signed)
    return checked / elapsed


def _empty_unary(clients: LoadClients, seconds: float) -> float:
    warm_up_seconds = seconds / 4
    with _empty_server() as address:
        start_at = clients.start(
            address, UNARY.callers, warm_up_seconds + seconds, method=f"/{SERVICE}/{METHOD}", empty=True
        )
        made = clients.finish()
    from_s = start_at + warm_up_seconds
    return len(made.latencies_s(from_s, from_s + seconds)) / seconds


@contextmanager
def _empty_server() -> Iterator[str]:
    """The address of a server that answers with nothing, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_empty, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    except EOFError:
        raise BenchFailedError("the server of empty calls has ended by itself; what it wrote above says why") from None
    finally:
        ours.close()
        process.join(END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def serve_empty(connection: Connection) -> None:
    """Answer empty calls until the other end hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bench ends it
    server = grpc.server(ThreadPoolExecutor(max_workers=SUBMITS_MAX))
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    connection.send(f"127.0.0.1:{port}")
    with contextlib.suppress(EOFError):
        connection.recv()
    server.stop(grace=None).wait()


def _copy(engine: sqlalchemy.Engine, seconds: float) -> float:
    columns = ("card", "entry_index", "merchant", "reference", "kind", "points", "decided_on")
    cards = [random_token() for _ in range(ROWS_PER_COMMIT)]
    copied = 0
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(COPIED_TABLE))
        connection.commit()
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            rows = [
                f"{card}\t{copied + place}\tmerchant-01\ttill-0-{copied + place:09d}\t2\t120\t2026-01-20"
                for place, card in enumerate(cards)
            ]
            with driver_cursor(connection) as cursor:
                copy_in(cursor, copy_of_rows("bench_copied", columns, rows))
            connection.commit()
            copied += len(rows)
        connection.execute(sqlalchemy.text("DROP TABLE bench_copied"))
        connection.commit()
    return copied / elapsed
