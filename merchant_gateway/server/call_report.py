"""What the gateway's log and metrics say of a call that was answered or turned away.

A line names the method, the reason, the field at fault, and whose message it was. It never repeats the text of the
reason, which may quote what was sent, nor anything of the payload but the reference.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import structlog
from google.protobuf.message import DecodeError, Message

from clearing.contract import bounds
from clearing.errors import ErrorReason, Rejection
from clearing.model import KeyId
from clearing.rules.directory import Directory
from clearing.runtime.line_limit import LineLimit
from clearing.runtime.metrics import NO_METRICS, Metrics
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.instruction_pb2 import Instruction
from clearing.v1.merchant_gateway_pb2 import SubmitRequest
from clearing.v1.operations_pb2 import InstructRequest
from clearing.v1.presentment_pb2 import Presentment

logger = structlog.get_logger()

REJECTIONS_PER_SECOND_MAX = 50
"""Lines; under overload thousands of calls a second are turned away, and one is like the other."""

SIGNATURE_HELD = frozenset(
    {
        ErrorReason.EMPTY_PRESENTMENT,
        ErrorReason.INVALID_FIELD,
        ErrorReason.MALFORMED_CARD_TOKEN,
        ErrorReason.POINTS_OUT_OF_RANGE,
        ErrorReason.CLOCK_SKEW,
        ErrorReason.KEY_NOT_YET_VALID,
        ErrorReason.KEY_EXPIRED,
        ErrorReason.KEY_REVOKED,
        ErrorReason.WRONG_ORIGIN,
        ErrorReason.MERCHANT_MISMATCH,
        ErrorReason.ROLE_NOT_ALLOWED,
        ErrorReason.SECOND_SIGNATURE_REQUIRED,
        ErrorReason.FENCED,
        ErrorReason.DATABASE_UNAVAILABLE,
        ErrorReason.SHUTTING_DOWN,
        ErrorReason.INTERNAL,
    }
)
"""Reasons for which a message is turned away only after its signature was found to hold; no other payload is parsed."""

OF_NOTE = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"})
"""Codes an operator should look into: somebody's key or access, or the gateway's own state."""

_TRANSACTION = re.compile(r"transactions\[(\d{1,4})\]")


def new_call_id() -> str:
    """What ties the lines about one call to each other, and to the error that its caller got."""
    return secrets.token_hex(8)


class CallReport:
    """Counts every call for the metrics, and logs those that are turned away. Any thread may use it."""

    def __init__(self, metrics: Metrics = NO_METRICS, directory: Callable[[], Directory | None] = lambda: None) -> None:
        """``directory`` tells whose the keys are; None while there is no alliance."""
        self._metrics = metrics
        self._directory = directory
        self._limit = LineLimit(REJECTIONS_PER_SECOND_MAX)

    def answered(self, method: str, seconds: float) -> None:
        """The call was answered as its method answers."""
        self._metrics.observe_call(_short(method), "OK", seconds)

    def turned_away(
        self, method: str, rejection: Rejection, code: str, seconds: float, request: Callable[[], Message]
    ) -> None:
        """The call failed; ``request`` reads its message."""
        self._metrics.observe_call(_short(method), code, seconds)
        self._metrics.observe_rejection(rejection.reason)
        if not self._limit.allows_one():
            return
        details: dict[str, str | int] = {"method": _short(method), "reason": rejection.reason.name}
        if rejection.field is not None:
            details["field"] = rejection.field
        if rejection.envelope_index is not None:
            details["envelope_index"] = rejection.envelope_index
        details |= self._whose(rejection, request)
        left_out = self._limit.take_left_out()
        if left_out:
            details["lines_left_out"] = left_out
        if code in OF_NOTE:
            logger.warning("rejected", **details)
        else:
            logger.info("rejected", **details)

    def _whose(self, rejection: Rejection, request: Callable[[], Message]) -> dict[str, str | int]:
        """The key and its owner that the envelope at fault names, and the reference if the signature held."""
        try:
            envelope = _envelope_at_fault(request(), rejection.envelope_index or 0)
        except (Rejection, DecodeError):
            return {}  # the call's bytes are no message at all
        if envelope is None:
            return {}
        details: dict[str, str | int] = {}
        directory = self._directory()
        for signature in envelope.signatures:
            key = directory.keys.get(KeyId(signature.keyid)) if directory is not None else None
            if key is not None:
                details["key_id"] = key.key_id
                details["merchant" if key.registration.merchant else "holder"] = (
                    key.registration.merchant or key.registration.holder
                )
                break
        if rejection.reason in SIGNATURE_HELD:
            details |= _reference(envelope, rejection.field)
        return details


def _short(method: str) -> str:
    """``MerchantGateway/Submit`` of ``/clearing.v1.MerchantGateway/Submit``."""
    return method.rpartition(".")[2]


def _envelope_at_fault(request: Message, index: int) -> Envelope | None:
    if isinstance(request, InstructRequest):
        return request.envelope
    if isinstance(request, SubmitRequest) and index < len(request.envelopes):
        return request.envelopes[index]
    return None


def _reference(envelope: Envelope, field: str | None) -> dict[str, str | int]:
    """The reference of the transaction at fault, or else of the first; of an instruction its own."""
    is_instruction = "instruction" in envelope.payload_type
    try:
        if is_instruction:
            text = Instruction.FromString(envelope.payload).reference
        else:
            transactions = Presentment.FromString(envelope.payload).transactions
            named = _TRANSACTION.match(field or "")
            text = transactions[int(named[1]) if named else 0].reference
        return {"reference": bounds.reference(text, "reference")}
    except (DecodeError, IndexError, Rejection):
        return {}  # what stands there is no reference, so it is not repeated
