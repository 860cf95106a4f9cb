"""Lines that are cut in the middle of a call, or fall silent: each sale is done once, and each till hears of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from clearing.calendar import moment_of
from clearing.clock import system_time
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transaction_receipt import TransactionReceipt
from merchant_gateway.client.transactions import earn
from tests.integration.alliance import Alliance, founded
from tests.integration.command import Served, served
from tests.integration.line import Cut, Line
from tests.integration.observation import complaints
from tests.merchant_gateway.client.outbox.outbox_scene import BAKERY, STORE
from tests.waiting import wait_until

CUTS = 40
SALES_OF_A_CALL = (1, 1, 30)
REQUEST_BYTES = 260
"""About what one sale takes on a connection that is open already."""
ANSWER_BYTES = 600
QUICK = RetryPolicy(deadline_seconds=200.0, attempt_seconds=100.0, first_backoff_seconds=0.01, backoff_seconds_max=0.05)
PATIENT = RetryPolicy(deadline_seconds=200.0, attempt_seconds=200.0, first_backoff_seconds=0.01)
"""Attempts so long that only keepalive ends them."""
MEBIBYTE = 1024 * 1024
GROWTH_MIB_MAX = 60
THREADS_MORE_MAX = CUTS // 2
"""Fewer than one for each line that is cut."""


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(database_url, clock="CLOCK_SYSTEM") as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance


class Gateway:
    """A gateway's process, from outside."""

    def __init__(self, gateway: Served) -> None:
        self.address: str = gateway.wait_for("serving")["address"]
        self._process = psutil.Process(gateway.process.pid)

    def connections(self) -> int:
        """Callers' connections that it holds open."""
        port = int(self.address.rpartition(":")[2])
        open_ones = self._process.net_connections("tcp")
        return sum(each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in open_ones)

    def threads(self) -> int:
        """How many it has."""
        return self._process.num_threads()

    def memory_mib(self) -> int:
        """What it holds."""
        return int(self._process.memory_info().rss) // MEBIBYTE


@contextmanager
def client_of(alliance: Alliance, address: str, retry: RetryPolicy) -> Iterator[MerchantClient]:
    """The bakery's, at the end of a line."""
    with MerchantClient(address, alliance.identity, BAKERY, alliance.keys["bakery"], retry=retry) as client:
        yield client


def sales(card: str, call: int, count: int) -> list[Transaction]:
    now = moment_of(system_time())
    return [earn(f"cut-{call}-{number}", card, STORE, 1, now) for number in range(count)]


def test_calls_that_are_cut_at_any_byte_are_answered_once_with_the_original_receipt(
    alliance: Alliance, tmp_path: Path
) -> None:
    card = alliance.open_card("bakery")
    choices = random.Random(3)
    heard: list[TransactionReceipt] = []
    with served(alliance, tmp_path) as served_gateway:
        gateway = Gateway(served_gateway)
        size = alliance.log_size()
        with Line(gateway.address) as line:
            with client_of(alliance, line.address, QUICK) as client:
                heard += client.submit(sales(card, 0, 1))
                connections, threads, memory = gateway.connections(), gateway.threads(), gateway.memory_mib()
                for call in range(1, CUTS + 1):
                    count = choices.choice(SALES_OF_A_CALL)
                    is_of_answers = choices.random() < 0.5
                    length = (ANSWER_BYTES if is_of_answers else REQUEST_BYTES) * (count + 1) // 2
                    line.cut_once(Cut(is_of_answers, choices.randrange(length), choices.random() < 0.5))
                    heard += client.submit(sales(card, call, count))
                    line.forget_cut()
                wait_until(lambda: gateway.connections() <= connections)
            wait_until(lambda: gateway.connections() < connections)
        assert line.cuts > CUTS / 2
        assert gateway.threads() <= threads + THREADS_MORE_MAX
        assert gateway.memory_mib() <= memory + GROWTH_MIB_MAX

        assert alliance.log_size() == size + CUTS + 1
        assert alliance.burn("cinema", card, 1_000_000).points_available == len(heard)
        assert {receipt.replayed for receipt in heard} == {False, True}, "some were decided before the line was cut"
        with client_of(alliance, gateway.address, QUICK) as client:
            for receipt in heard:
                original = client.transaction(receipt.reference)
                assert (original.entry_index, original.position) == (receipt.entry_index, receipt.position)
                assert original.points_available == receipt.points_available
        assert complaints(alliance.engine) == []


def test_lines_that_fall_silent_are_given_up_by_both_ends(alliance: Alliance, tmp_path: Path) -> None:
    card = alliance.open_card("bakery")
    with served(alliance, tmp_path) as served_gateway:
        gateway = Gateway(served_gateway)
        own = gateway.connections()
        with (
            Line(gateway.address) as dead_line,
            Line(gateway.address) as deaf_line,
            client_of(alliance, dead_line.address, PATIENT) as dead,
            client_of(alliance, deaf_line.address, PATIENT) as deaf,
        ):
            dead.submit(sales(card, 1, 1))
            deaf.submit(sales(card, 2, 1))
            assert gateway.connections() == own + 2
            dead_line.fall_silent()
            deaf_line.lose_answers()
            with ThreadPoolExecutor(2) as tills:
                from_dead = tills.submit(dead.submit, sales(card, 3, 1))
                from_deaf = tills.submit(deaf.submit, sales(card, 4, 1))
            assert not from_dead.result()[0].replayed, "it never arrived before"
            assert from_deaf.result()[0].replayed, "it was decided, and nobody heard of it"
            wait_until(lambda: gateway.connections() == own + 2)
        wait_until(lambda: gateway.connections() == own)
        assert alliance.burn("cinema", card, 1_000_000).points_available == 4
