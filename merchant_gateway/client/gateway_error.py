"""Why a call to the gateway failed, as the caller's side sees it: never a raw gRPC error."""

from __future__ import annotations

from typing import NamedTuple, cast

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from clearing.errors import ClearingError, ErrorReason

RETRIED_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
"""What sending the same again may help with. After DEADLINE_EXCEEDED the gateway may or may not have decided; since the
same references with the same content hear the first decision again, asking once more is how to find out. CANCELLED is
what gRPC makes of a call that comes at the very moment when the gateway hangs up."""

_NANOS_PER_SECOND = 1_000_000_000


class FieldViolation(NamedTuple):
    """A field of the payload that is at fault."""

    field: str
    """Its path, such as ``transactions[3].card_token``."""
    description: str


class GatewayError(ClearingError):
    """The call never reached a decision that the caller heard of."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: ErrorReason | None = None,
        field_violations: tuple[FieldViolation, ...] = (),
        envelope_index: int | None = None,
        retry_delay_seconds: float = 0.0,
        call_id: str = "",
    ) -> None:
        """``reason`` is None where the gateway was not reached, or named one that this version does not know."""
        name = reason.name if reason is not None else code.name
        super().__init__(f"{message} ({name}, call {call_id})" if call_id else f"{message} ({name})")
        self.code = code
        self.message = message
        self.reason = reason
        self.field_violations = field_violations
        self.envelope_index = envelope_index
        """Which envelope of the call is at fault, from 0."""
        self.retry_delay_seconds = retry_delay_seconds
        """How long the gateway asks to wait."""
        self.call_id = call_id
        """By which the gateway's operator finds the call in the log; empty where the gateway gave none."""

    @property
    def is_worth_retrying(self) -> bool:
        """Whether sending the same again can help."""
        return self.code in RETRIED_CODES


def gateway_error_of(error: grpc.RpcError, address: str) -> GatewayError:
    """What a failed call means."""
    call = cast(grpc.Call, error)  # grpcio raises the failed call itself
    code = call.code()
    try:
        status = rpc_status.from_call(call)
    except ValueError:
        status = None  # the details contradict the status: a proxy's, not the gateway's
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details if status is not None else ():
        for message in (info, bad_request, retry):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    text = call.details() or "no reason was given"
    if not info.reason:
        text = _transport_text(code, text, address)
    index = info.metadata.get("envelope_index", "")
    return GatewayError(
        code,
        text,
        reason=ErrorReason.__members__.get(info.reason),
        field_violations=tuple(FieldViolation(each.field, each.description) for each in bad_request.field_violations),
        envelope_index=int(index) if index.isdecimal() else None,
        retry_delay_seconds=retry.retry_delay.seconds + retry.retry_delay.nanos / _NANOS_PER_SECOND,
        call_id=info.metadata.get("call_id", ""),
    )


def _transport_text(code: grpc.StatusCode, text: str, address: str) -> str:
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"the gateway at {address} cannot be reached: {text}; check the address, and that it is running"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the gateway at {address} did not answer in time; send the same again to hear what was decided"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"what listens at {address} does not offer this call ({text}); check the address and the version"
    return f"the call to {address} failed: {text}"
