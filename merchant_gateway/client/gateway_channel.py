"""A channel to a gateway: calls that are retried where that is safe, with a token where one is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from clearing.clock import WallClock, system_time
from clearing.closing import Closing
from clearing.runtime.addresses import require_plain_text_stays_here
from clearing.signing.keys import PrivateKey
from clearing.signing.tokens import make_token
from clearing.v1.audit_pb2_grpc import AuditStub
from clearing.v1.merchant_gateway_pb2_grpc import MerchantGatewayStub
from clearing.v1.operations_pb2_grpc import OperationsStub
from clearing.v1.settlement_pb2_grpc import SettlementStub
from merchant_gateway.client.gateway_error import gateway_error_of
from merchant_gateway.client.retry import RetryPolicy, call_with_retries

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

_CHANNEL_OPTIONS = (
    # A workbook or a call's receipts may be larger than gRPC's usual limit of 4 MiB a message.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    # A line that has fallen silent is given up while a call waits, long before the operating system would.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # The transport looks for a gateway that came back about as often as calls are sent again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Which errors are worth a retry is decided here, not by the transport.
    ("grpc.enable_retries", 0),
)


class GatewayChannel(Closing):
    """Calls to one gateway of one alliance. Any thread may use it; it connects on the first call."""

    def __init__(
        self,
        address: str,
        origin: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        insecure_plaintext: bool = False,
        retry: RetryPolicy | None = None,
        wall_clock: WallClock = system_time,
    ) -> None:
        """``address`` is host and port; ``origin`` is the alliance's, which tokens are made for.

        Without ``credentials`` (see ``merchant_gateway.client.tls``) the connection is not encrypted: only for a
        gateway on the same machine. Raises ``AddressError`` for another, unless ``insecure_plaintext`` allows
        it, and if it is no address.
        """
        if credentials is None and not insecure_plaintext:
            require_plain_text_stays_here(address)
        self.address = address
        self.origin = origin
        self._retry = retry if retry is not None else RetryPolicy()
        self._wall_clock = wall_clock
        self._channel = (
            grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
        )
        self.gateway = MerchantGatewayStub(self._channel)
        self.operations = OperationsStub(self._channel)
        self.settlement = SettlementStub(self._channel)
        self.audit = AuditStub(self._channel)

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        key: PrivateKey | None = None,
    ) -> ResponseT:
        """One call, retried with the same bytes; with a token of ``key`` if one is given. Raises ``GatewayError``."""
        # A token for each attempt: it lives a minute, and attempts may go on for longer.
        return call_with_retries(lambda timeout: self.call_once(method, request, key, timeout), self._retry)

    def call_once(
        self,
        method: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        key: PrivateKey | None,
        timeout_seconds: float,
    ) -> ResponseT:
        """The same in one attempt."""
        try:
            return method(request, timeout=timeout_seconds, metadata=self._metadata(key))
        except grpc.RpcError as error:
            raise gateway_error_of(error, self.address) from None

    def stream(
        self, method: grpc.UnaryStreamMultiCallable[RequestT, ResponseT], request: RequestT, key: PrivateKey
    ) -> Iterator[ResponseT]:
        """The answers of a streaming read, not retried. Raises ``GatewayError``."""
        try:
            yield from method(request, timeout=self._retry.deadline_seconds, metadata=self._metadata(key))
        except grpc.RpcError as error:
            raise gateway_error_of(error, self.address) from None

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _metadata(self, key: PrivateKey | None) -> tuple[tuple[str, str], ...]:
        if key is None:
            return ()
        return (("authorization", f"Bearer {make_token(key, self.origin, self._wall_clock())}"),)
