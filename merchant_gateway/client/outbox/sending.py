"""Sending the queue, oldest sale first, and what each answer of the gateway means for the sales that were sent.

| answer | what is done |
|---|---|
| receipts | recorded: accepted, or refused, which is final |
| a code of RETRIED_CODES | the same again, after what the gateway asks for and a backoff |
| INTERNAL | the same; a sale that is found to be the only one at which the gateway fails is set aside |
| an envelope is at fault | that sale is set aside, the others are sent |
| the key ended while the sale waited | the sale is signed by the client's key of now, with the same payload |
| anything else | nothing more is sent: it is no sale's fault |
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc

from clearing.clock import WallClock
from clearing.contract.entry import instant_of
from clearing.errors import ClearingError, ErrorReason
from clearing.model import Reference
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.outbox.sales import Sale, Sales, State
from merchant_gateway.client.outbox.signing import kept_presentment, key_id_of_sale, signed_anew
from merchant_gateway.client.outbox.suspicion import Suspicion
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transaction_receipt import TransactionReceipt

ENVELOPES_PER_CALL_MAX = 500
CALL_BYTES_MAX = 2 * 1024 * 1024 - 1024
"""The contract's limits of a call, less what its other fields may take."""

SALE_AT_FAULT = frozenset(
    {
        ErrorReason.MALFORMED_ENVELOPE,
        ErrorReason.PAYLOAD_TYPE_MISMATCH,
        ErrorReason.PAYLOAD_TOO_LARGE,
        ErrorReason.MALFORMED_PAYLOAD,
        ErrorReason.UNKNOWN_FIELDS,
        ErrorReason.EMPTY_PRESENTMENT,
        ErrorReason.INVALID_FIELD,
        ErrorReason.MALFORMED_CARD_TOKEN,
        ErrorReason.POINTS_OUT_OF_RANGE,
        ErrorReason.BAD_SIGNATURE,
        ErrorReason.SIGNED_BEFORE_FOUNDING,
    }
)
"""Reasons that lie in one sale's bytes, so that other sales may well pass."""

KEY_AT_FAULT = frozenset(
    {
        ErrorReason.UNKNOWN_KEY,
        ErrorReason.KEY_NOT_YET_VALID,
        ErrorReason.KEY_EXPIRED,
        ErrorReason.KEY_REVOKED,
    }
)
"""Reasons that lie in the key that signed, so that another key of the merchant may help."""


@dataclass(slots=True)
class Progress:
    """What one run of the sender came to so far."""

    accepted: int = 0
    refused: list[Sale] = field(default_factory=list)
    set_aside: list[Sale] = field(default_factory=list)
    stopped_by: ClearingError | None = None
    is_complete: bool = False
    """Whether all that was asked for was sent and answered."""


class Sender:
    """Sends one outbox's sales. Whoever runs it holds the outbox's drain lock."""

    def __init__(
        self,
        sales: Sales,
        client: MerchantClient,
        retry: RetryPolicy,
        wall_clock: WallClock,
        closing: threading.Event,
    ) -> None:
        """``closing`` ends waits early."""
        self._sales = sales
        self._client = client
        self._retry = retry
        self._wall_clock = wall_clock
        self._closing = closing
        self._has_met_gateway = False
        """Whether the last that was heard of the gateway was an answer."""
        self._failures = 0
        self.last_error: ClearingError | None = None
        """Why the gateway could not be asked the last time; None if it could."""
        self._envelopes_per_call = ENVELOPES_PER_CALL_MAX
        self._suspicion = Suspicion()
        self.resume_at = 0.0
        """Nothing is sent before (``time.monotonic``). It and the last error are written under the drain lock; anybody
        may read them."""

    def run(self, deadline: float, *, up_to: int | None = None, must_meet_gateway: bool = False) -> Progress:
        """Send what is queued, or what is up to a sale's number, until the deadline (``time.monotonic``).

        ``must_meet_gateway``: even with nothing to send, do not come back complete while the gateway is out of reach.
        Raises ``OutboxError``; what goes wrong beyond the file is told in ``stopped_by``.
        """
        progress = Progress()
        while progress.stopped_by is None:
            batch = self._sales.first_queued(self._envelopes_per_call, CALL_BYTES_MAX)
            is_nothing_left = not batch or (up_to is not None and batch[0].number > up_to)
            if is_nothing_left and (self._has_met_gateway or not must_meet_gateway):
                progress.is_complete = True
                break
            if not self._wait(deadline):
                progress.stopped_by = self.last_error
                break
            attempt_seconds = min(self._retry.attempt_seconds, deadline - time.monotonic())
            if not self._has_met_gateway:
                self._meet_gateway(attempt_seconds, progress)
            else:
                self._send(self._compared(batch), attempt_seconds, progress)
        return progress

    def _wait(self, deadline: float) -> bool:
        """Sleep until it is time for the next attempt; False if that is not before the deadline."""
        if max(time.monotonic(), self.resume_at) >= deadline or self._closing.is_set():
            return False
        wait_seconds = self.resume_at - time.monotonic()
        return wait_seconds <= 0 or not self._closing.wait(wait_seconds)

    def _meet_gateway(self, attempt_seconds: float, progress: Progress) -> None:
        """A small call before a large one, which also tells whether this is the right alliance."""
        try:
            alliance = self._client.alliance(attempt_seconds=attempt_seconds)
        except GatewayError as error:
            if error.is_worth_retrying or error.code is grpc.StatusCode.INTERNAL:
                self._back_off(error)
            else:
                progress.stopped_by = error
        except ClearingError as error:  # another alliance's gateway
            progress.stopped_by = error
        else:
            self._sales.remember_late_presentment_days(alliance.late_presentment_days)
            self._has_met_gateway = True
            self._failures = 0
            self.last_error = None

    def _compared(self, batch: Sequence[Sale]) -> Sequence[Sale]:
        """The batch, or the one sale to compare it with."""
        if len(batch) > 1 or not batch or not self._suspicion.asks_for_another(batch[0].reference):
            return batch
        card = _card_of(batch[0])
        others = self._sales.first_queued(ENVELOPES_PER_CALL_MAX, CALL_BYTES_MAX)
        # Of another card: what follows on the same one may depend on the sale before it.
        return next(([sale] for sale in others if _card_of(sale) != card), batch)

    def _send(self, batch: Sequence[Sale], attempt_seconds: float, progress: Progress) -> None:
        envelopes: list[Envelope] = []
        for sale in batch:
            if kept_presentment(sale) is None:
                self._set_aside(sale, "the file does not hold any more what was written", progress)
                return
            envelopes.append(Envelope.FromString(sale.envelope))
        try:
            answers = self._client.submit_signed(envelopes, attempt_seconds=attempt_seconds)
        except GatewayError as error:
            self._take_error(error, batch, progress)
        except ClearingError as error:
            # A receipt that proves nothing, a second log, a receipt store that is full: the sales stay queued.
            progress.stopped_by = error
        else:
            self._record(batch, [receipt for (receipt,) in answers], progress)
            self._suspicion.answered([sale.reference for sale in batch])
            self._failures = 0
            self.last_error = None
            self._envelopes_per_call = min(ENVELOPES_PER_CALL_MAX, self._envelopes_per_call * 2)

    def _record(self, batch: Sequence[Sale], receipts: Sequence[TransactionReceipt], progress: Progress) -> None:
        states: dict[Reference, State] = {}
        for sale, receipt in zip(batch, receipts, strict=True):
            states[sale.reference] = State.DONE if receipt.is_accepted else self._refused_state(sale, states)
        decided = [(sale, receipt, states[sale.reference]) for sale, receipt in zip(batch, receipts, strict=True)]
        self._sales.record(decided)
        progress.accepted += sum(receipt.is_accepted for receipt in receipts)
        progress.refused.extend(sale for sale, _, state in decided if state is State.REFUSED)

    def _refused_state(self, sale: Sale, states: Mapping[Reference, State]) -> State:
        """How a refused sale stands; ``states`` are those of the same call before it."""
        if not sale.is_withdrawn:
            return State.REFUSED
        if sale.points_burned:
            return State.VOID
        presentment = kept_presentment(sale)
        assert presentment is not None, "it was read before it was sent"
        original = Reference(presentment.transactions[0].refund.original_reference)
        if original in states:
            state: int = states[original]
        else:
            burn = self._sales.find(original)
            state = burn.state if burn is not None else State.DONE
        # The reversal of a burn that is refused finds nothing: that is what the customer was told. Any other refusal
        # leaves points burned for nothing, and somebody must know.
        return State.DONE if state == State.VOID else State.REFUSED

    def _take_error(self, error: GatewayError, batch: Sequence[Sale], progress: Progress) -> None:
        if error.is_worth_retrying:
            self._back_off(error)
            if error.code is not grpc.StatusCode.UNAVAILABLE and error.reason in (None, ErrorReason.POOL_FULL):
                # A slow line, a full pool or a narrow transport may take fewer at a time.
                self._envelopes_per_call = max(1, len(batch) // 2)
            return
        if error.code is grpc.StatusCode.INTERNAL:
            self._back_off(error)
            if len(batch) > 1:
                # Those before the one at which it may fail get through.
                self._envelopes_per_call = len(batch) // 2
            elif self._suspicion.failed(batch[0].reference):
                self._set_aside(batch[0], str(error), progress)
            return
        if error.reason is ErrorReason.CALL_SIZE and len(batch) > 1:
            self._envelopes_per_call = len(batch) // 2
            return
        index = error.envelope_index
        sale = batch[index] if index is not None and index < len(batch) else None
        if sale is None or not self._mend(error, sale, batch, progress):
            progress.stopped_by = error

    def _mend(self, error: GatewayError, sale: Sale, batch: Sequence[Sale], progress: Progress) -> bool:
        """Whether something was done about the sale that is at fault, so that the queue can go on."""
        is_unknown_fault = error.reason is None and error.code is grpc.StatusCode.INVALID_ARGUMENT
        if error.reason in SALE_AT_FAULT or is_unknown_fault:
            self._set_aside(sale, str(error), progress)
            return True
        if error.reason is ErrorReason.CLOCK_SKEW:
            presentment = kept_presentment(sale)
            if presentment is not None and self._wall_clock() < instant_of(presentment.presented_at):
                # The till's clock was ahead and was set since: whether the sale's time is right, somebody must say.
                self._set_aside(sale, str(error), progress)
                return True
            return False
        key_id = key_id_of_sale(sale)
        if error.reason in KEY_AT_FAULT and key_id != self._client.key_id:
            for each in batch:
                if key_id_of_sale(each) == key_id:
                    envelope = signed_anew(self._client, each)
                    assert envelope is not None, "it was read before it was sent"
                    self._sales.replace_envelope(each, envelope)
            return True
        return False

    def _set_aside(self, sale: Sale, reason: str, progress: Progress) -> None:
        self._sales.set_aside(sale, reason)
        progress.set_aside.append(sale._replace(reason=reason, state=State.SET_ASIDE))

    def _back_off(self, error: GatewayError) -> None:
        self._failures += 1
        self.last_error = error
        self._has_met_gateway = error.code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
        self.resume_at = time.monotonic() + self._retry.wait_seconds(self._failures, error.retry_delay_seconds)


def _card_of(sale: Sale) -> str | None:
    presentment = kept_presentment(sale)
    return presentment.transactions[0].card_token if presentment is not None else None
