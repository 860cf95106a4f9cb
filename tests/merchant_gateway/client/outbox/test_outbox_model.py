"""Any run of sales, broken lines, crashes and drains comes to each sale once, in its order.

The alliance decides in memory by the real rules; the outbox, its file and the client are real.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import grpc
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clearing.calendar import instant_of
from clearing.card_token import token_of_bytes
from clearing.contract.entry import decode_entry
from clearing.model import ClockKind, Instant, Outcome, Points
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.presentment_pb2 import Presentment, Transaction
from merchant_gateway.client.connection import Alliance
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.outbox import BurnOfflineError, FloorLimit, Outbox
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transaction_receipt import TransactionReceipt
from merchant_gateway.client.transactions import burn, earn, open_card, refund
from tests.merchant_gateway.client.outbox.outbox_scene import BAKERY, NOWHERE, PATIENCE_SECONDS, STORE
from tests.merchant_gateway.client.rules_alliance import IDENTITY, RulesAlliance, directory_of, key_of
from tests.zones import calendar_of

NOON = datetime.datetime(2017, 1, 2, 12, tzinfo=datetime.UTC)
CARDS = [token_of_bytes(bytes([number]) * 16) for number in range(3)]
PATIENT = RetryPolicy(first_backoff_seconds=0.0, backoff_seconds_max=0.0)
FLOOR = FloorLimit(Points(30), Points(50))


class Killed(BaseException):
    """The till's process ends here."""


class Line(Enum):
    """What becomes of the next call."""

    GOOD = "answered"
    REFUSING = "not taken, as by a full pool"
    DEAD = "never arrives"
    BREAKS = "never arrives, though the gateway was heard of a moment before"
    ANSWER_LOST = "decided, and nobody hears of it"
    KILLED_BEFORE = "the till dies before it is sent"
    KILLED_AFTER = "the till dies when it is decided, before that is recorded"


LINES = st.sampled_from(list(Line))


class ClientInMemory(MerchantClient):
    """A client whose gateway is the rules."""

    def __init__(self, alliance: RulesAlliance) -> None:
        super().__init__(NOWHERE, IDENTITY, BAKERY, key_of(BAKERY))
        self._alliance = alliance
        self.line = Line.GOOD

    def submit_signed(
        self, envelopes: Sequence[Envelope], *, attempt_seconds: float | None = None
    ) -> list[list[TransactionReceipt]]:
        """As the line is; after a failure, which is long enough to notice, it stays so until the next step."""
        match self.line:
            case Line.DEAD | Line.BREAKS:
                raise GatewayError(grpc.StatusCode.UNAVAILABLE, "dead", retry_delay_seconds=1_000.0)
            case Line.REFUSING:
                self.line = Line.GOOD
                raise GatewayError(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
            case Line.KILLED_BEFORE:
                raise Killed
        answers = self._alliance.submit(envelopes)
        if self.line is Line.ANSWER_LOST:
            raise GatewayError(grpc.StatusCode.DEADLINE_EXCEEDED, "lost", retry_delay_seconds=1_000.0)
        if self.line is Line.KILLED_AFTER:
            raise Killed
        return answers

    def alliance(self, *, attempt_seconds: float | None = None) -> Alliance:
        """The alliance, unless the line is dead."""
        if self.line is Line.DEAD:
            raise GatewayError(grpc.StatusCode.UNAVAILABLE, "dead", retry_delay_seconds=1_000.0)
        latest = self._alliance.latest
        return Alliance(
            "EUR", 2, calendar_of("Europe/Berlin"), ClockKind.PRESENTED, 7, latest, len(self._alliance.leaves)
        )


class OutboxMachine(RuleBasedStateMachine):
    """Sales as a till makes them, against what the ledger must hold in the end."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="clearing-outbox-")
        self._alliance = RulesAlliance(directory_of({STORE: BAKERY}))
        self._client = ClientInMemory(self._alliance)
        self._minutes = 0
        self._numbers = 0
        self._written: dict[str, Transaction] = {}
        """What is safe, in the order in which it was sold."""
        self._unsure: dict[str, Transaction] = {}
        """Sold by a till that died meanwhile."""
        self._ever_unsure: set[str] = set()
        self._not_done: set[str] = set()
        self._open()

    def _open(self) -> None:
        self._outbox = Outbox(
            Path(self._folder.name) / "outbox.sqlite",
            self._client,
            floor_limit=FLOOR,
            patience_seconds=PATIENCE_SECONDS,
            retry=PATIENT,
            wall_clock=lambda: Instant(instant_of(self._now())),
        )

    def _now(self) -> datetime.datetime:
        return NOON + datetime.timedelta(minutes=self._minutes)

    def _die_and_start_again(self) -> None:
        self._outbox.close()
        self._client.line = Line.GOOD
        self._open()

    def _change_line(self, line: Line) -> None:
        """Long enough after the sale before that no backoff lasts: as if the till had been started again."""
        if line is not self._client.line:
            self._die_and_start_again()
            self._client.line = line

    def _sell(self, sale: Transaction, line: Line = Line.GOOD) -> None:
        self._change_line(line)
        reference = sale.reference
        self._minutes += 1
        try:
            answer = self._outbox.sell(sale, presented_at=self._now())
        except BurnOfflineError:
            assert sale.HasField("burn")
            self._not_done.add(reference)
            self._unsure.pop(reference, None)
        except Killed:
            if reference not in self._written:
                self._unsure[reference] = sale
                self._ever_unsure.add(reference)
            self._die_and_start_again()
        else:
            assert isinstance(answer, TransactionReceipt) or line in (Line.DEAD, Line.BREAKS, Line.ANSWER_LOST)
            self._unsure.pop(reference, None)
            self._written.setdefault(reference, sale)

    def _next_reference(self) -> str:
        self._numbers += 1
        return f"s{self._numbers:04}"

    @initialize()
    def open_the_first_card(self) -> None:
        self._sell(open_card(self._next_reference(), CARDS[0], STORE, self._now()))
        self._sell(earn(self._next_reference(), CARDS[0], STORE, 100, self._now()))

    @rule(line=LINES, card=st.sampled_from(CARDS), points=st.integers(1, 60), make=st.sampled_from([earn, burn]))
    def a_customer_earns_or_burns(self, line: Line, card: str, points: int, make: Callable[..., Transaction]) -> None:
        self._sell(make(self._next_reference(), card, STORE, points, self._now()), line)

    @rule(
        line=st.sampled_from([Line.BREAKS, Line.ANSWER_LOST]), card=st.sampled_from(CARDS), points=st.integers(31, 60)
    )
    def a_large_burn_hears_no_answer(self, line: Line, card: str, points: int) -> None:
        self._change_line(Line.GOOD)
        self._outbox.drain()
        self._sell(burn(self._next_reference(), card, STORE, points, self._now()), line)
        assert self._not_done, "it is above the floor limit"

    @rule(line=LINES, card=st.sampled_from(CARDS))
    def a_customer_opens_a_card(self, line: Line, card: str) -> None:
        self._sell(open_card(self._next_reference(), card, STORE, self._now()), line)

    @rule(line=LINES, data=st.data())
    def a_customer_brings_something_back(self, line: Line, data: st.DataObject) -> None:
        original = data.draw(st.sampled_from(sorted(self._written)))
        card = self._written[original].card_token
        self._sell(refund(self._next_reference(), card, STORE, original, self._now(), points=1), line)

    @precondition(lambda self: self._unsure)
    @rule(line=LINES, data=st.data())
    def the_till_asks_again_for_what_it_does_not_know(self, line: Line, data: st.DataObject) -> None:
        self._sell(self._unsure[data.draw(st.sampled_from(sorted(self._unsure)))], line)

    @rule(line=LINES, data=st.data())
    def the_till_asks_again_for_what_it_knows(self, line: Line, data: st.DataObject) -> None:
        self._sell(self._written[data.draw(st.sampled_from(sorted(self._written)))], line)

    @rule(line=LINES)
    def the_queue_is_drained(self, line: Line) -> None:
        self._change_line(line)
        try:
            self._outbox.drain()
        except Killed:
            self._die_and_start_again()

    @invariant()
    def no_burns_wait_beyond_the_floor_limit(self) -> None:
        """A till that died while it asked may have left one more, which it will ask for again."""
        unsure = sum(sale.burn.points for sale in self._unsure.values())
        assert self._outbox.backlog().points_burned <= FLOOR.points_outstanding + unsure

    def teardown(self) -> None:
        """In the end the line is good, and everything is sent."""
        try:
            self._die_and_start_again()
            report = self._outbox.drain()
            assert (report.stopped_by, report.set_aside, report.backlog.queued) == (None, (), 0)
            self._compare([each.receipt.reference for each in self._outbox.refusals()])
        finally:
            self._outbox.close()
            self._client.close()
            self._folder.cleanup()

    def _compare(self, refused: list[Any]) -> None:
        outcomes: dict[str, Outcome] = {}
        reversed_references: set[str] = set()
        for leaf in self._alliance.leaves[1:]:
            entry = decode_entry(leaf)
            (transaction,) = Presentment.FromString(entry.envelope.payload).transactions
            (result,) = entry.transaction_results
            assert transaction.reference not in outcomes, "each sale has one entry"
            outcomes[transaction.reference] = result.outcome
            if transaction.reference.startswith("reversal-"):
                original = transaction.refund.original_reference
                assert (result.outcome is Outcome.ACCEPTED) == (outcomes[original] is Outcome.ACCEPTED)
                reversed_references.add(original)
        sales = [reference for reference in outcomes if reference.startswith("s")]
        assert set(self._written) <= set(sales) <= set(self._written) | set(self._unsure) | self._not_done
        assert reversed_references == self._not_done & set(sales)
        assert refused == [
            reference
            for reference in sales
            if outcomes[reference] is not Outcome.ACCEPTED and reference not in reversed_references
        ]
        # What a till that died was selling stands where it was first written, which the till cannot tell.
        in_order = [reference for reference in self._written if reference not in self._ever_unsure]
        assert [reference for reference in sales if reference in set(in_order)] == in_order


OutboxTest = OutboxMachine.TestCase
OutboxTest.settings = settings(max_examples=40, stateful_step_count=20)
