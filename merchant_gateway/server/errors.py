"""How errors travel: one table from named reasons to gRPC codes, and one place that turns exceptions into statuses.

A status carries ``google.rpc.ErrorInfo`` (reason, domain, metadata), ``BadRequest`` where a field is at fault, and
``RetryInfo`` where sending the same again can help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from clearing.errors import ErrorReason, Rejection, is_defect
from clearing.postgres.database_errors import DatabaseUnavailableError
from clearing.runtime.telling import telling
from clearing.writer.writer import DATABASE_UNAVAILABLE_TEXT
from merchant_gateway.server.call_report import CallReport, new_call_id

logger = structlog.get_logger()

DOMAIN = "clearing"
"""``ErrorInfo.domain`` of every error of ours."""

RETRY_DELAY_MS = 250
"""Where the rejection does not know how long to wait."""

TEXT_BYTES_MAX = 1_000
"""A status travels in trailers, and gRPC refuses trailers above 8 KiB; an error's text may quote what was sent."""

STATUS_CODES: dict[ErrorReason, Code] = {
    ErrorReason.MALFORMED_ENVELOPE: Code.INVALID_ARGUMENT,
    ErrorReason.PAYLOAD_TYPE_MISMATCH: Code.INVALID_ARGUMENT,
    ErrorReason.PAYLOAD_TOO_LARGE: Code.INVALID_ARGUMENT,
    ErrorReason.MALFORMED_PAYLOAD: Code.INVALID_ARGUMENT,
    ErrorReason.UNKNOWN_FIELDS: Code.INVALID_ARGUMENT,
    ErrorReason.EMPTY_PRESENTMENT: Code.INVALID_ARGUMENT,
    ErrorReason.INVALID_FIELD: Code.INVALID_ARGUMENT,
    ErrorReason.MALFORMED_CARD_TOKEN: Code.INVALID_ARGUMENT,
    ErrorReason.POINTS_OUT_OF_RANGE: Code.INVALID_ARGUMENT,
    ErrorReason.CALL_SIZE: Code.INVALID_ARGUMENT,
    ErrorReason.CLOCK_SKEW: Code.INVALID_ARGUMENT,
    ErrorReason.BAD_SIGNATURE: Code.UNAUTHENTICATED,
    ErrorReason.UNKNOWN_KEY: Code.UNAUTHENTICATED,
    ErrorReason.KEY_NOT_YET_VALID: Code.UNAUTHENTICATED,
    ErrorReason.KEY_EXPIRED: Code.UNAUTHENTICATED,
    ErrorReason.KEY_REVOKED: Code.UNAUTHENTICATED,
    ErrorReason.BAD_TOKEN: Code.UNAUTHENTICATED,
    ErrorReason.TOKEN_EXPIRED: Code.UNAUTHENTICATED,
    ErrorReason.WRONG_ORIGIN: Code.PERMISSION_DENIED,
    ErrorReason.MERCHANT_MISMATCH: Code.PERMISSION_DENIED,
    ErrorReason.ROLE_NOT_ALLOWED: Code.PERMISSION_DENIED,
    ErrorReason.SECOND_SIGNATURE_REQUIRED: Code.PERMISSION_DENIED,
    ErrorReason.MISSING_PROOF_OF_POSSESSION: Code.PERMISSION_DENIED,
    ErrorReason.NOT_FOUND: Code.NOT_FOUND,
    ErrorReason.POOL_FULL: Code.RESOURCE_EXHAUSTED,
    ErrorReason.FENCED: Code.UNAVAILABLE,
    ErrorReason.DATABASE_UNAVAILABLE: Code.UNAVAILABLE,
    ErrorReason.SHUTTING_DOWN: Code.UNAVAILABLE,
    ErrorReason.SETTLEMENT_NOT_READY: Code.UNAVAILABLE,
    ErrorReason.INTERNAL: Code.INTERNAL,
    ErrorReason.CERTIFICATE_MISMATCH: Code.PERMISSION_DENIED,
    ErrorReason.CALL_RATE_LIMIT: Code.RESOURCE_EXHAUSTED,
    ErrorReason.TRANSACTION_RATE_LIMIT: Code.RESOURCE_EXHAUSTED,
    ErrorReason.OFFICE_MUST_SIGN: Code.PERMISSION_DENIED,
    ErrorReason.UNKNOWN_VERSION: Code.FAILED_PRECONDITION,
    ErrorReason.WRONG_LOG: Code.PERMISSION_DENIED,
    ErrorReason.INSTRUCTION_EXPIRED: Code.INVALID_ARGUMENT,
    ErrorReason.SIGNED_BEFORE_FOUNDING: Code.INVALID_ARGUMENT,
}
"""The gRPC code of every reason."""

_WORTH_RETRYING = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)


def status_of(rejection: Rejection, call_id: str = "") -> Status:
    """The rejection as ``google.rpc.Status`` with its details, and the id of its call in the gateway's log."""
    code = STATUS_CODES[rejection.reason]
    info = ErrorInfo(reason=rejection.reason.name, domain=DOMAIN)
    if rejection.envelope_index is not None:
        info.metadata["envelope_index"] = str(rejection.envelope_index)
    if call_id:
        info.metadata["call_id"] = call_id
    text = _shortened(rejection.message)
    status = Status(code=int(code), message=text)
    status.details.append(_packed(info))
    if rejection.field is not None:
        violation = BadRequest.FieldViolation(field=rejection.field, description=text)
        status.details.append(_packed(BadRequest(field_violations=[violation])))
    if code in _WORTH_RETRYING:
        delay = Duration()
        delay.FromMilliseconds(rejection.retry_delay_ms if rejection.retry_delay_ms is not None else RETRY_DELAY_MS)
        status.details.append(_packed(RetryInfo(retry_delay=delay)))
    return status


def _shortened(text: str) -> str:
    """The text without its middle where it is long: the beginning says what is wrong, the end what to do."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= TEXT_BYTES_MAX:
        return text
    half = TEXT_BYTES_MAX // 2
    return f"{encoded[:half].decode(errors='ignore')} … {encoded[-half:].decode(errors='ignore')}"


def _packed(message: ErrorInfo | BadRequest | RetryInfo) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def rejection_of(error: Exception, method: str) -> Rejection:
    """What a caller is told of an exception: a rejection as it is, an unreachable database, or a failure of ours."""
    if isinstance(error, Rejection):
        return error
    with telling("a failed call"):
        _log_failure(error, method)
    if isinstance(error, DatabaseUnavailableError):
        return Rejection(ErrorReason.DATABASE_UNAVAILABLE, DATABASE_UNAVAILABLE_TEXT)
    return Rejection(ErrorReason.INTERNAL, "the gateway failed; its log says more. Tell its operator")


def _log_failure(error: Exception, method: str) -> None:
    if isinstance(error, DatabaseUnavailableError):
        logger.warning("database_unavailable", method=method, error=str(error))
    elif is_defect(error):
        logger.error("call_failed", method=method, exc_info=error)
    else:
        logger.error("call_failed", method=method, error=str(error))


if TYPE_CHECKING:
    _ServerInterceptor = grpc.ServerInterceptor[Any, Any]
else:  # generic in its stubs only
    _ServerInterceptor = grpc.ServerInterceptor


class ErrorInterceptor(_ServerInterceptor):
    """Turns whatever a service raises into a status, so that no exception text of ours or a library's leaks.

    It also reads the request, because grpcio answers bytes that are none with INTERNAL, as if the gateway were at
    fault; and it reports how each call ended.
    """

    def __init__(self, report: CallReport | None = None) -> None:
        self._report = report if report is not None else CallReport()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's handler, guarded."""
        handler = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or handler.request_streaming or method.startswith("/grpc."):
            return handler
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                _guarded_stream(handler.unary_stream, method, handler.request_deserializer, self._report),
                response_serializer=handler.response_serializer,
            )
        assert handler.unary_unary is not None, "no method of ours takes a stream"
        return grpc.unary_unary_rpc_method_handler(
            _guarded(handler.unary_unary, method, handler.request_deserializer, self._report),
            response_serializer=handler.response_serializer,
        )


Deserialiser = Callable[[bytes], Any] | None


def _read(request: bytes, deserialiser: Deserialiser) -> Any:
    assert deserialiser is not None, "every method of ours takes a message"
    try:
        return deserialiser(request)
    except DecodeError:
        raise Rejection(
            ErrorReason.MALFORMED_PAYLOAD, "the call's bytes are not its request message; check the proto's version"
        ) from None


def _guarded(
    method: Callable[..., Any], name: str, deserialiser: Deserialiser, report: CallReport
) -> Callable[..., Any]:
    def call(request: bytes, context: grpc.ServicerContext) -> Any:
        started = time.perf_counter()
        try:
            answer = method(_read(request, deserialiser), context)
        except Exception as error:  # the outermost place: whatever it is, the caller gets a named reason
            status = status_of_failure(error, name, started, report, lambda: _read(request, deserialiser))
        else:
            with telling("an answered call"):
                report.answered(name, time.perf_counter() - started)
            return answer
        context.abort_with_status(rpc_status.to_status(status))

    return call


def _guarded_stream(
    method: Callable[..., Iterator[Any]], name: str, deserialiser: Deserialiser, report: CallReport
) -> Callable[..., Iterator[Any]]:
    def call(request: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
        started = time.perf_counter()
        try:
            yield from method(_read(request, deserialiser), context)
        except Exception as error:  # the outermost place: whatever it is, the caller gets a named reason
            status = status_of_failure(error, name, started, report, lambda: _read(request, deserialiser))
        else:
            with telling("an answered call"):
                report.answered(name, time.perf_counter() - started)
            return
        context.abort_with_status(rpc_status.to_status(status))

    return call


def status_of_failure(
    error: Exception, name: str, started: float, report: CallReport, request: Callable[[], Any]
) -> Status:
    """The status that the caller gets, under an id by which the operator finds it in the log."""
    call_id = new_call_id()
    with structlog.contextvars.bound_contextvars(call_id=call_id):
        rejection = rejection_of(error, name)
        code = STATUS_CODES[rejection.reason]
        with telling("a call that was turned away"):
            report.turned_away(name, rejection, Code.Name(code), time.perf_counter() - started, request)
    return status_of(rejection, call_id)
