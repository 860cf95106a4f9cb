"""SQLite files that many threads and processes open, write and close at the same moment."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from clearing.card_token import random_token
from merchant_gateway.client.outbox import Outbox
from merchant_gateway.client.receipt_store import ReceiptStore
from merchant_gateway.client.transactions import earn
from tests.merchant_gateway.client.outbox.outbox_scene import STORE, now
from tests.merchant_gateway.client.outbox.test_outbox_file import LOG_KEY, client
from tests.waiting import PATIENCE_SECONDS

PROCESSES = 3
THREADS = 5
"""Of each process."""
FILES = 25
"""Opened one after the other, each by all at once."""

Use = Callable[[Path, str], None]


def sell_one(path: Path, reference: str) -> None:
    with Outbox(path, client(), patience_seconds=0.0) as outbox:
        outbox.sell(earn(reference, random_token(), STORE, 1, now()))


def count_receipts(path: Path, _: str) -> None:
    with ReceiptStore(path, LOG_KEY.verifier) as store:
        assert store.count() == 0


def open_all(folder: Path, name: str, use: Use, barrier: Barrier, failures: Queue[str]) -> None:
    """What one process does: on each of its threads, every file in turn, at the same moment as all others."""

    def open_each(thread: int) -> None:
        for number in range(FILES):
            barrier.wait(PATIENCE_SECONDS)
            try:
                use(folder / f"{number}.sqlite", f"{name}-{thread}")
            except Exception as error:  # whatever it is, the test shows it, and the others are not left waiting
                failures.put(f"{number}: {error!r}")

    threads = [threading.Thread(target=open_each, args=(thread,)) for thread in range(THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    failures.put("")


def failures_of(use: Use, folder: Path) -> list[str]:
    """What went wrong where all processes and threads used new files, each at the same moment."""
    context = multiprocessing.get_context("spawn")
    barrier, failures = context.Barrier(PROCESSES * THREADS), context.Queue()
    processes = [
        context.Process(target=open_all, args=(folder, f"till{number}", use, barrier, failures), daemon=True)
        for number in range(PROCESSES)
    ]
    for each in processes:
        each.start()
    told: list[str] = []
    while told.count("") < PROCESSES:
        told.append(failures.get(timeout=5 * PATIENCE_SECONDS))
    for each in processes:
        each.join()
    return [text for text in told if text]


def test_tills_of_many_processes_and_threads_make_an_outbox_at_the_same_moment(tmp_path: Path) -> None:
    assert failures_of(sell_one, tmp_path) == []
    for number in range(FILES):
        with Outbox(tmp_path / f"{number}.sqlite", client()) as outbox:
            assert outbox.backlog().queued == PROCESSES * THREADS


def test_a_file_of_receipts_is_made_by_many_processes_and_threads_at_the_same_moment(tmp_path: Path) -> None:
    assert failures_of(count_receipts, tmp_path) == []
