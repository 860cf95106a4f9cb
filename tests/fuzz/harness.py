"""Calls the gateway's real handlers with bytes, as its server would, and holds every answer to the contract."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from structlog.typing import EventDict, WrappedLogger

from clearing.clock import system_time
from clearing.errors import ErrorReason
from clearing.signing.keys import PrivateKey
from clearing.v1.audit_pb2_grpc import add_AuditServicer_to_server
from clearing.v1.merchant_gateway_pb2_grpc import add_MerchantGatewayServicer_to_server
from clearing.v1.operations_pb2_grpc import add_OperationsServicer_to_server
from merchant_gateway.server.audit import Audit
from merchant_gateway.server.authentication import Authenticator
from merchant_gateway.server.call_report import CallReport
from merchant_gateway.server.certificates import Certificates
from merchant_gateway.server.decided_before import DecidedBefore
from merchant_gateway.server.errors import DOMAIN, STATUS_CODES, ErrorInterceptor
from merchant_gateway.server.limits import MerchantLimits, RateLimiter
from merchant_gateway.server.operations import Operations
from merchant_gateway.server.service import MerchantGateway
from tests.fuzz.generator import Actors, FuzzInput, Generator
from tests.integration.alliance import Alliance

TRAILER_BYTES_MAX = 8_192
"""What gRPC takes of trailers; the status travels in them percent-encoded and once more in base64."""
OUR_FAULT = frozenset(
    {
        ErrorReason.INTERNAL,
        ErrorReason.DATABASE_UNAVAILABLE,
        ErrorReason.FENCED,
        ErrorReason.SHUTTING_DOWN,
        ErrorReason.POOL_FULL,
        ErrorReason.CALL_RATE_LIMIT,
        ErrorReason.TRANSACTION_RATE_LIMIT,
        ErrorReason.CERTIFICATE_MISMATCH,
    }
)
"""What no caller of this harness can be the cause of."""
UNLIMITED = MerchantLimits(calls_per_second=10**9, transactions_per_second=10**9)
ANSWERED = "answered"


class Finding(AssertionError):
    """An input that was not answered as the contract says."""


class Aborted(Exception):
    """How a handler ends a call with a status."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__(status.details)
        self.status = status


class Details(NamedTuple):
    """What a server tells an interceptor of a call."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...] = ()


class Context:
    """What the handlers use of a call's context, in plain text and without a peer."""

    def __init__(self, authorization: str | bytes | None) -> None:
        self._metadata = () if authorization is None else (("authorization", authorization),)

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata

    def auth_context(self) -> Mapping[str, list[bytes]]:
        return {}

    def is_active(self) -> bool:
        return True

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        raise Aborted(status)


class Handlers:
    """Takes services as a server does, and finds their handlers."""

    def __init__(self) -> None:
        self._generic: list[grpc.GenericRpcHandler[Any, Any]] = []

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler[Any, Any], ...]) -> None:
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """The same handlers once more, for servers that look methods up by name."""

    def find(self, details: Any) -> Any:
        for handler in self._generic:
            found = handler.service(details)
            if found is not None:
                return found
        return None


class Harness:
    """One alliance's gateway, and what its answers came to."""

    def __init__(self, alliance: Alliance) -> None:
        writer, engine = alliance.gateway.writer, alliance.engine
        authenticator = Authenticator(
            writer,
            system_time,
            certificates=Certificates(required=False),
            limiter=RateLimiter(UNLIMITED),
            decided_before=DecidedBefore(engine),
        )
        handlers: Any = Handlers()
        add_MerchantGatewayServicer_to_server(MerchantGateway(writer, engine, authenticator), handlers)
        add_OperationsServicer_to_server(Operations(writer, engine, authenticator), handlers)
        add_AuditServicer_to_server(Audit(writer, engine, authenticator), handlers)
        self._handlers = handlers
        self._interceptor = ErrorInterceptor(CallReport(directory=lambda: writer.directory))
        self._methods: dict[str, Callable[[bytes, Any], Any]] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """By method and what came: ``answered``, or the reason of the refusal."""
        self.complaints: list[str] = []
        """What was logged as an error, or with an exception."""
        self._listen_to_logs()

    def run(self, generator: Generator, first: int, end: int) -> None:
        """Send the inputs of these numbers. Raises ``Finding``."""
        for number in range(first, end):
            for call in generator.inputs(number):
                try:
                    self._send(call)
                except Exception as error:  # whatever it is: with the input it can be found again
                    raise Finding(f"input {number}: {call.method} {error!r}: {call}"[:4_000]) from error

    def _send(self, call: FuzzInput) -> None:
        try:
            response = self._method(call.method)(call.request, Context(call.authorization))
        except Aborted as aborted:
            self.outcomes[call.method, _named_reason(aborted.status)] += 1
        else:
            assert isinstance(response, Message)
            self.outcomes[call.method, ANSWERED] += 1
        assert not self.complaints, self.complaints[0]

    def _method(self, name: str) -> Callable[[bytes, Any], Any]:
        if name not in self._methods:
            details: Any = Details(name)
            handler = self._interceptor.intercept_service(self._handlers.find, details)
            assert handler is not None
            assert handler.unary_unary is not None
            self._methods[name] = handler.unary_unary
        return self._methods[name]

    def _listen_to_logs(self) -> None:
        def listen(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
            if method in ("error", "critical", "exception") or event.get("exc_info"):
                self.complaints.append(str(event))
            raise structlog.DropEvent

        structlog.configure(processors=[listen], cache_logger_on_first_use=False)
        complaints = self.complaints

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                complaints.append(self.format(record))

        logging.getLogger().addHandler(Listener(logging.ERROR))


def _named_reason(status: grpc.Status) -> str:
    """The reason that the status names, as the table has it, in trailers that gRPC takes."""
    ((_, packed),) = status.trailing_metadata
    details = Status.FromString(packed)
    info = ErrorInfo()
    assert details.details[0].Unpack(info), "a status without ErrorInfo"
    reason = ErrorReason[info.reason]
    assert info.domain == DOMAIN
    assert details.code == STATUS_CODES[reason] == status.code.value[0]
    assert reason not in OUR_FAULT, f"{reason.name}: {details.message}"
    assert len(details.message.encode()) * 3 + len(packed) * 4 / 3 < TRAILER_BYTES_MAX
    return reason.name


def actors_of(alliance: Alliance, stranger: PrivateKey) -> Actors:
    """Whose keys the generator signs with."""
    return Actors(alliance.identity, alliance.keys["bakery"], alliance.operator, alliance.second_operator, stranger)
