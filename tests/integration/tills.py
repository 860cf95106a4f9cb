"""Tills at work: threads that present until they are told to stop, and send again whatever was not answered.

Each has a card of its own and knows what the card must hold, so that every answer shows whether anything before it was
lost or done twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import grpc

from clearing.model import CardToken, Outcome
from clearing.v1 import entry_pb2, merchant_gateway_pb2, operations_pb2
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.gateway_error import RETRIED_CODES
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.observation import complaints
from tests.integration.till import Expected, Till
from tests.integration.witness import Witness
from tests.waiting import PATIENCE_SECONDS

THREADS = 6
INSTRUCTIONS = 0.05
"""Before so many of a till's calls, an operator instructs something."""
EVERYTHING = 1_000_000_000
"""More points than a card has: the refusal of burning them tells how many it has."""
RETRY_SECONDS = 0.05
PAUSE_SECONDS_MAX = 0.03
"""Between a till's calls: so that what is killed finds some processor time to get up in."""


@dataclass(slots=True)
class Tills:
    """What the tills sent and heard."""

    alliance: Alliance
    tills: list[Till]
    answered: list[tuple[Envelope, entry_pb2.Receipt]] = field(default_factory=list)
    instructed: list[tuple[Envelope, entry_pb2.Receipt]] = field(default_factory=list)
    """The same of instructions."""
    interruptions: list[grpc.StatusCode] = field(default_factory=list)
    heard_late: list[bool] = field(default_factory=list)
    """Of each interrupted call in the end: whether it had been committed when its answer was lost."""
    failures: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    call_begins: threading.Event = field(default_factory=threading.Event)
    """Set at the beginning of each."""
    attempt_seconds: float = CALL_TIMEOUT_SECONDS
    """How long to wait for an answer before the same is sent again."""
    call_seconds: float = 0.0
    """How long the last one took that was answered at once."""

    @property
    def cards(self) -> list[CardToken]:
        """One a till."""
        return [till.card for till in self.tills]

    def answers(self) -> int:
        """Receipts so far."""
        return len(self.answered)

    def everything(self) -> list[tuple[Envelope, entry_pb2.Receipt]]:
        """What was answered so far, presentments and instructions."""
        return [*self.answered, *self.instructed]

    def wait_for_answers(self, more: int) -> None:
        """Return once there are so many receipts more than now."""
        enough = self.answers() + more
        self._wait_until(lambda: self.answers() >= enough)

    def wait_for_every_till(self) -> None:
        """Return once each till has begun a call from now on and heard the answer."""
        enough = [till.calls_answered + 2 for till in self.tills]
        self._wait_until(lambda: all(t.calls_answered >= e for t, e in zip(self.tills, enough, strict=True)))

    def wait_within_a_call(self, part: float) -> None:
        """Return when a till has begun a call, and this part of the time has passed that one takes."""
        self.call_begins.clear()
        assert self.call_begins.wait(PATIENCE_SECONDS)
        time.sleep(part * self.call_seconds)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            self._require_no_failure()
            assert time.monotonic() < deadline, f"no answers any more: {self.interruptions[-3:]}"
            time.sleep(0.01)

    def _require_no_failure(self) -> None:
        if self.failures:
            raise self.failures[0]

    def verify(self, witness: Witness | None = None, notes: Collection[str] = ()) -> None:
        """Every receipt is the log's, every retry hears the original, nothing is doubled, and the books balance.

        The witness may have seen the log before; ``notes`` are checkpoints that others were handed.
        """
        self._require_no_failure()
        witness = witness or Witness(self.alliance)
        everything = self.everything()
        witness.check(everything, everything, notes)
        presented = {reference for till in self.tills for reference in till.references}
        assert presented == {reference for reference in witness.references if reference.partition("-")[0] in self._own}
        held = [self.alliance.burn("cinema", card, EVERYTHING).points_available for card in self.cards]
        assert held == [till.points for till in self.tills]
        assert complaints(self.alliance.engine) == []

    @property
    def _own(self) -> set[str]:
        """How the tills' references begin."""
        return {card[5:15] for card in self.cards}


@contextmanager
def at_work(alliance: Alliance, seed: int = 0, attempt_seconds: float = CALL_TIMEOUT_SECONDS) -> Iterator[Tills]:
    """Tills at work; when the block is left, they finish what they have begun.

    ``attempt_seconds``: after how long they send again, where a gateway may neither answer nor hang up.
    """
    tills = Tills(
        alliance,
        [Till(alliance.open_card("bakery"), random.Random(f"{seed} {number}")) for number in range(THREADS)],
        attempt_seconds=attempt_seconds,
    )
    threads = [threading.Thread(target=_work, args=(tills, till)) for till in tills.tills]
    for thread in threads:
        thread.start()
    try:
        yield tills
    finally:
        tills.stop.set()
        for thread in threads:
            thread.join()


def _work(tills: Tills, till: Till) -> None:
    try:
        while not tills.stop.is_set():
            if till.choices.random() < INSTRUCTIONS:
                _open_store(tills, till)
            _sell(tills, till)
            till.calls_answered += 1
            time.sleep(till.choices.uniform(0, PAUSE_SECONDS_MAX))
    except BaseException as error:  # handed to the test, which fails with it
        tills.failures.append(error)


def _sell(tills: Tills, till: Till) -> None:
    envelopes, expected = till.next_call(tills.alliance)
    request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes)
    receipts = _until_answered(
        tills, lambda: list(tills.alliance.merchants.Submit(request, timeout=tills.attempt_seconds).receipts)
    )
    heard = [
        [Expected(result.outcome, result.points_available) for result in entry.transaction_results]
        for entry in map(tills.alliance.verified, receipts)
    ]
    assert heard == expected, f"{heard}, and not {expected}: something answered before is lost, or done twice"
    tills.answered.extend(zip(envelopes, receipts, strict=True))


def _open_store(tills: Tills, till: Till) -> None:
    envelope = till.next_store(tills.alliance)
    request = operations_pb2.InstructRequest(envelope=envelope)
    (receipt,) = _until_answered(
        tills, lambda: [tills.alliance.operations.Instruct(request, timeout=tills.attempt_seconds).receipt]
    )
    result = tills.alliance.verified(receipt).instruction_result
    assert result is not None
    assert result.outcome is Outcome.ACCEPTED
    tills.instructed.append((envelope, receipt))


def _until_answered(tills: Tills, send: Callable[[], list[entry_pb2.Receipt]]) -> list[entry_pb2.Receipt]:
    """The receipts of a call, however often it must be sent."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    attempts = 1
    while True:
        begun = time.monotonic()
        tills.call_begins.set()
        try:
            receipts = send()
        except grpc.RpcError as error:
            code = cast(grpc.Call, error).code()  # grpcio raises the failed call itself
            if code not in RETRIED_CODES or time.monotonic() > deadline:
                raise
            tills.interruptions.append(code)
            attempts += 1
            time.sleep(RETRY_SECONDS)
            continue
        replayed = {receipt.replayed for receipt in receipts}
        assert len(replayed) == 1, "a call is committed whole"
        if attempts > 1:
            tills.heard_late.append(replayed.pop())
        else:
            assert replayed == {False}, "what is new was never heard before"
            tills.call_seconds = time.monotonic() - begun
        return receipts
