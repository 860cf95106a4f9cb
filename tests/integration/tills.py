"""Tills at work: threads that present earns until they are told to stop, and send again whatever was not answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import grpc

from clearing.contract.entry import decode_entry
from clearing.log.checkpoint import open_checkpoint
from clearing.model import CardToken, Outcome
from clearing.receipt import receipt_of, verify_receipt
from clearing.store.database import snapshot
from clearing.stored_log import stored_leaf, tile_reader
from clearing.v1 import entry_pb2, merchant_gateway_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from tests.integration.alliance import Alliance
from tests.integration.observation import complaints

THREADS = 4
ENVELOPES_PER_CALL = 5
ATTEMPT_SECONDS = 5
GIVE_UP_SECONDS = 40
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


@dataclass(slots=True)
class Tills:
    """What the tills sent and heard."""

    alliance: Alliance
    cards: list[CardToken]
    answered: list[tuple[Envelope, entry_pb2.Receipt]] = field(default_factory=list)
    interruptions: list[grpc.StatusCode] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def answers(self) -> int:
        """Receipts so far."""
        return len(self.answered)

    def wait_for_answers(self, more: int) -> None:
        """Return once there are so many receipts more than now."""
        enough = self.answers() + more
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while self.answers() < enough:
            assert time.monotonic() < deadline, f"no answers any more: {self.interruptions[-3:]} {self.failures}"
            time.sleep(0.01)

    def verify(self) -> None:
        """Every receipt is the log's, every retry hears the original, nothing is doubled, and the books balance."""
        assert self.failures == []
        engine, verifier = self.alliance.engine, self.alliance.log_key.verifier
        head = self.alliance.gateway.writer.head
        assert head is not None
        newest = open_checkpoint(head.checkpoint, verifier)
        roots = {newest.size: newest.root}
        with snapshot(engine) as connection:
            tree = tile_reader(connection)
            for _, message in self.answered:
                receipt = receipt_of(message)
                checkpoint = verify_receipt(receipt, verifier)
                assert stored_leaf(connection, receipt.index) == receipt.leaf
                if checkpoint.size not in roots:
                    roots[checkpoint.size] = tree.root(checkpoint.size)
                assert roots[checkpoint.size] == checkpoint.root
        envelopes = [envelope for envelope, _ in self.answered]
        for start in range(0, len(envelopes), 200):
            again = self.alliance.submit(*envelopes[start : start + 200])
            expected = [(receipt.index, receipt.entry) for _, receipt in self.answered[start : start + 200]]
            assert [(receipt.index, receipt.entry) for receipt in again] == expected
            assert all(receipt.replayed for receipt in again)
        results = [decode_entry(receipt.entry).transaction_results for _, receipt in self.answered]
        assert {result.outcome for (result,) in results} == {Outcome.ACCEPTED}
        held = [self.alliance.burn("cinema", card, 1_000_000_000).points_available for card in self.cards]
        assert sum(held) == len(self.answered)
        assert complaints(engine) == []


@contextmanager
def at_work(alliance: Alliance) -> Iterator[Tills]:
    """Tills at work, each with a card of its own; when the block is left, they finish what they have begun."""
    tills = Tills(alliance, [alliance.open_card("bakery") for _ in range(THREADS)])
    threads = [threading.Thread(target=_work, args=(tills, card)) for card in tills.cards]
    for thread in threads:
        thread.start()
    try:
        yield tills
    finally:
        tills.stop.set()
        for thread in threads:
            thread.join()


def _work(tills: Tills, card: CardToken) -> None:
    numbers = iter(range(1_000_000))
    presented_at = tills.alliance.now
    try:
        while not tills.stop.is_set():
            envelopes = [
                _earn(tills.alliance, card, f"{card[5:15]}-{next(numbers)}") for _ in range(ENVELOPES_PER_CALL)
            ]
            receipts = _submit(tills, envelopes)
            assert len(receipts) == len(envelopes)
            tills.answered.extend(zip(envelopes, receipts, strict=True))
    except BaseException as error:  # handed to the test, which fails with it
        tills.failures.append(error)
    assert tills.alliance.now >= presented_at


def _earn(alliance: Alliance, card: CardToken, reference: str) -> Envelope:
    earn = presentment_pb2.Earn(points=1)
    return alliance.envelope(
        alliance.presentment("bakery", alliance.transaction("bakery", card, reference=reference, earn=earn))
    )


def _submit(tills: Tills, envelopes: list[Envelope]) -> list[entry_pb2.Receipt]:
    """The receipts, however often it takes."""
    request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes)
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            return list(tills.alliance.merchants.Submit(request, timeout=ATTEMPT_SECONDS).receipts)
        except grpc.RpcError as error:
            code = cast(grpc.Call, error).code()  # grpcio raises the failed call itself
            if code not in RETRIED or time.monotonic() > deadline:
                raise
            tills.interruptions.append(code)
            time.sleep(0.02)
