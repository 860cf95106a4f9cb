"""The gRPC server: which services it offers, on which address, and how it starts and stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clearing.runtime.addresses import require_plain_text_stays_here, split_address
from merchant_gateway.server.admission import Admission
from merchant_gateway.server.call_report import CallReport
from merchant_gateway.server.errors import ErrorInterceptor
from merchant_gateway.server.health import Health
from merchant_gateway.server.listening import ListenError

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Above what any call of ours may carry, so that a call too large hears our reason instead of the transport's."""
PENDING_CALLS_MAX = 5_000
"""Calls that the transport has and that nobody has looked at yet. Beyond, it cancels calls without a reason; its own
limit of 1,000 is reached before they are refused with one, should many tills come at once."""
KEEPALIVE_SECONDS = 10
"""After so long a silence a connection is asked whether its other end is still there,"""
KEEPALIVE_TIMEOUT_SECONDS = 10
"""and given up, with the calls on it, if nothing is heard for so long."""
STOP_GRACE_SECONDS = 20.0

SERVICES = tuple(f"clearing.v1.{name}" for name in ("MerchantGateway", "Operations", "Settlement", "Audit"))

AddService = Callable[[grpc.Server], None]
"""Adds one service to a server."""


class GatewayServer:
    """A server of the clearing house's services that can be started and stopped."""

    def __init__(
        self,
        address: str,
        services: Sequence[AddService],
        *,
        credentials: grpc.ServerCredentials | None = None,
        insecure_plaintext: bool = False,
        reflect: bool = False,
        is_able: Callable[[], bool] = lambda: True,
        report: CallReport | None = None,
    ) -> None:
        """Listen on ``address``, host and port; port 0 takes a free one.

        Without ``credentials`` traffic is not encrypted, so it must not leave the machine: ``AddressError``
        unless the address is loopback or ``insecure_plaintext`` allows it. Raises ``ListenError`` if the port is in
        use or the address is not this machine's, ``AddressError`` also if it is none.

        Health says while serving what ``is_able`` says; ``report`` is told how each call ended.
        """
        host, port = split_address(address)
        if credentials is None and not insecure_plaintext:
            require_plain_text_stays_here(address)
        report = report if report is not None else CallReport()
        self._admission = Admission(report)
        self._server = grpc.server(
            self._admission.others,
            interceptors=[self._admission, ErrorInterceptor(report)],
            options=(
                # Two servers on one port would each get some of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.server.max_pending_requests", PENDING_CALLS_MAX),
                ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS_MAX),
                ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1_000),
                ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1_000),
                ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1_000),
                ("grpc.keepalive_permit_without_calls", 1),
                # Clients ask the same, and are not to be taken for a flood.
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ),
        )
        for add_service in services:
            add_service(self._server)
        self._health = Health(SERVICES, is_able)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflect:
            reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        try:
            self.port = (
                self._server.add_insecure_port(f"{host}:{port}")
                if credentials is None
                else self._server.add_secure_port(f"{host}:{port}", credentials)
            )
        except RuntimeError:
            raise ListenError(
                f"cannot listen on {address}: the port is in use, or the address is not this machine's; stop the other "
                "program or choose another with --address"
            ) from None
        self.address = f"{host}:{self.port}"

    def start(self) -> None:
        """Serve."""
        self._server.start()
        self._health.start()

    def announce_stop(self) -> None:
        """Have health say NOT_SERVING, for good; calls are still taken."""
        self._health.stop()

    def stop(self) -> None:
        """Say so by health first, take no new call, let calls under way finish."""
        self._health.stop()
        stopped = self._server.stop(STOP_GRACE_SECONDS)
        self._health.end_watches()
        stopped.wait()
        self._admission.close()
