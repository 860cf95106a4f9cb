"""Tills that are killed in the middle of anything neither lose nor double a sale."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearing.model import CardToken, Outcome, TransactionKind
from tests.integration.alliance import founded
from tests.integration.observation import complaints
from tests.merchant_gateway.client.outbox.outbox_scene import NOWHERE, Shop
from tests.waiting import PATIENCE_SECONDS, wait_until

ROUNDS = 12
TILLS = 2
SECONDS_OF_SELLING_MAX = 0.25
POINTS = 1_000_000


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    with founded(database_url, clock="CLOCK_SYSTEM") as alliance:
        alliance.admit("bakery")
        yield Shop(alliance, tmp_path)


class Till:
    """A process that sells; what it said until it was killed."""

    def __init__(self, shop: Shop, address: str, card: CardToken, prefix: str, floor: int) -> None:
        self._said = shop.folder / f"{prefix}.txt"
        alliance = shop.alliance
        arguments = [address, alliance.log_key.vkey, alliance.log_id.hex(), alliance.keys["bakery"].seed.hex()]
        arguments += [str(shop.folder / "outbox.sqlite"), card, prefix, str(floor)]
        # Not the file that is read here: processes that share an open file share the place in it too.
        with self._said.open("a") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.merchant_gateway.client.outbox.outbox_till", *arguments],
                stdout=said,
                cwd=Path(__file__).parents[4],
            )

    def wait_until_it_has_said(self, lines: int) -> None:
        def has_said() -> bool:
            assert self._process.poll() is None
            return len(self.said()) >= lines

        wait_until(has_said)

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        assert self._process.poll() is None, "it sells until it is killed"
        self._process.kill()
        self._process.wait()

    def said(self) -> list[tuple[str, str]]:
        """What it began, and what it was told."""
        lines = [line.split() for line in self._said.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [(word, reference) for word, reference in lines]

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()


def test_tills_killed_at_any_moment_neither_lose_nor_double_a_sale(shop: Shop) -> None:
    card = shop.card_with(POINTS)
    entries_before = shop.alliance.log_size()
    moments = random.Random(20260122)
    said: list[tuple[str, str]] = []
    for each_round in range(ROUNDS):
        # Every third round the line is dead, and every other one burns may wait.
        address = NOWHERE if each_round % 3 == 2 else shop.address
        floor = 5 * (each_round % 2)
        tills = [Till(shop, address, card, f"r{each_round}-{number}", floor) for number in range(TILLS)]
        try:
            # One is in its first sale, and one has done that and begun another.
            for till, lines in zip(tills, (1, 3), strict=True):
                till.wait_until_it_has_said(lines)
            for till in tills:
                time.sleep(moments.uniform(0.0, SECONDS_OF_SELLING_MAX))
                till.kill()
            said += [each for till in tills for each in till.said()]
        finally:
            for till in tills:
                till.close()

    with shop.outbox() as outbox:
        report = outbox.drain(PATIENCE_SECONDS)
        assert (report.stopped_by, report.refused, report.set_aside, report.backlog.queued) == (None, (), (), 0)
        assert list(outbox.refusals()) == []

    listed = [each for each in shop.client.transactions() if each.reference.startswith("r")]
    assert len({each.reference for each in listed}) == len(listed)
    assert {each.outcome for each in listed} == {Outcome.ACCEPTED}
    # Each is one entry: the same envelope was sent until it was answered.
    assert shop.alliance.log_size() == entries_before + len(listed)
    sold = {str(each.reference): each for each in listed if each.kind is not TransactionKind.REFUND}
    begun, safe, none = ({ref for word, ref in said if word == which} for which in ("begin", "safe", "none"))
    assert len(begun) > ROUNDS * TILLS
    assert safe
    assert safe <= sold.keys() <= begun
    # What the customer was told is not done came to nothing, whatever the line made of it.
    assert all(sold[reference].points_refunded == sold[reference].points for reference in none & sold.keys())
    assert all(each.points_refunded == 0 for reference, each in sold.items() if reference not in none | begun - safe)

    change = {TransactionKind.EARN: 1, TransactionKind.BURN: -1}
    expected = sum(change[each.kind] * (each.points - each.points_refunded) for each in sold.values())
    assert shop.points(card) == POINTS + expected
    assert complaints(shop.alliance.engine) == []
