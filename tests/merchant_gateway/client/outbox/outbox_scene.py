"""A bakery's till on a real gateway that can go away and come back, for the tests of the outbox."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import grpc

from back_office.host.assembly import Gateway
from clearing.calendar import moment_of
from clearing.clock import system_time
from clearing.errors import ErrorReason
from clearing.model import CardToken, MerchantId, Outcome
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.outbox import Outbox, Queued
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transaction_receipt import TransactionReceipt
from tests.integration.alliance import Alliance

BAKERY = MerchantId("bakery")
STORE = "bakery-1"
QUICK = RetryPolicy(attempt_seconds=60.0, first_backoff_seconds=0.01, backoff_seconds_max=0.05)
ONCE = RetryPolicy(attempt_seconds=60.0, first_backoff_seconds=1e9, backoff_seconds_max=1e9)
"""Waits after a failure for longer than anybody has patience."""
PATIENCE_SECONDS = 60.0
"""Long enough for an answer on a busy machine."""
IMPATIENCE_SECONDS = 0.2
"""Where none will come, and how the gateway was missed does not matter."""
NOWHERE = "127.0.0.1:9"
"""Where nobody listens."""


def now() -> datetime.datetime:
    return moment_of(system_time())


class Line(Enum):
    """What becomes of a call."""

    GOOD = "it is answered"
    DEAD = "it never arrives"
    ANSWERS_LOST = "it is decided, and nobody hears of it"


class ClientOnALine(MerchantClient):
    """A client whose presentments, but not its other calls, go over a line that can break."""

    line = Line.GOOD

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.errors: list[GatewayError] = []
        """What the next calls come to, before any arrives."""
        self.calls: list[tuple[float, int]] = []
        """When (``time.monotonic``) and with how many envelopes."""
        self.reasons: list[tuple[int, ErrorReason]] = []
        """How the gateway refused calls, and of how many envelopes; not those that were cut before it answered."""

    def submit_signed(
        self, envelopes: Sequence[Envelope], *, attempt_seconds: float | None = None
    ) -> list[list[TransactionReceipt]]:
        """As the line is."""
        self.calls.append((time.monotonic(), len(envelopes)))
        if self.errors:
            raise self.errors.pop(0)
        broken = GatewayError(grpc.StatusCode.UNAVAILABLE, "the line broke")
        if self.line is Line.DEAD:
            raise broken
        try:
            answers = super().submit_signed(envelopes, attempt_seconds=attempt_seconds)
        except GatewayError as error:
            if error.reason is not None:
                self.reasons.append((len(envelopes), error.reason))
            raise
        if self.line is Line.ANSWERS_LOST:
            raise broken
        return answers


class Shop:
    """An alliance under the system clock, its address, and a till's client."""

    def __init__(self, alliance: Alliance, folder: Path) -> None:
        self.alliance = alliance
        self.folder = folder
        self.address = alliance.gateway.server.address
        self.client = self.client_of(alliance.keys["bakery"])

    def client_of(self, key: PrivateKey) -> ClientOnALine:
        return ClientOnALine(self.address, self.alliance.identity, BAKERY, key, retry=QUICK)

    @contextmanager
    def outbox(self, client: MerchantClient | None = None, **options: Any) -> Iterator[Outbox]:
        settings: dict[str, Any] = {"patience_seconds": PATIENCE_SECONDS, "retry": QUICK} | options
        with Outbox(self.folder / "outbox.sqlite", client or self.client, **settings) as an_outbox:
            yield an_outbox

    def go_away(self) -> None:
        self.alliance.gateway.stop()

    def come_back(self) -> None:
        self.alliance.gateway = Gateway(self.alliance.engine, self.alliance.log_key, self.address)
        self.alliance.gateway.start()

    def card_with(self, points: int) -> CardToken:
        card = self.alliance.open_card("bakery")
        assert self.alliance.earn("bakery", card, points).outcome is Outcome.ACCEPTED
        return card

    def references(self, prefix: str) -> list[str]:
        """Of the ledger's transactions, in its order, those that begin so."""
        return [each.reference for each in self.client.transactions() if each.reference.startswith(prefix)]

    def points(self, card: str) -> int:
        return self.client.card(CardToken(card)).points_available


def queued(answer: Queued | TransactionReceipt) -> Queued:
    assert isinstance(answer, Queued), answer
    return answer


def receipt(answer: Queued | TransactionReceipt) -> TransactionReceipt:
    assert isinstance(answer, TransactionReceipt), answer
    return answer
