"""The gRPC server: which services it offers, on which address, and how it starts and stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clearing.addresses import require_plain_text_stays_here, split_address
from clearing.errors import ClearingError
from merchant_gateway.call_report import CallReport
from merchant_gateway.errors import ErrorInterceptor
from merchant_gateway.health import Health

THREADS = 128
"""A thread waits for the writer during each Submit, so there are more than the cores could use."""
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Above what any call of ours may carry, so that a call too large hears our reason instead of the transport's."""
STOP_GRACE_SECONDS = 20.0

SERVICES = tuple(f"clearing.v1.{name}" for name in ("MerchantGateway", "Operations", "Settlement", "Audit"))

AddService = Callable[[grpc.Server], None]
"""Adds one service to a server."""


class ListenError(ClearingError):
    """The server cannot listen where it was told to."""


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

        Without ``credentials`` traffic is not encrypted, so it must not leave the machine: ``PlainTextRefusedError``
        unless the address is loopback or ``insecure_plaintext`` allows it. Raises ``ListenError`` if the port is in
        use or the address is not this machine's, ``AddressError`` if it is none.

        Health says while serving what ``is_able`` says; ``report`` is told how each call ended.
        """
        host, port = split_address(address)
        if credentials is None and not insecure_plaintext:
            require_plain_text_stays_here(address)
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="call"),
            interceptors=[ErrorInterceptor(report)],
            options=(
                # Two servers on one port would each get some of the calls.
                ("grpc.so_reuseport", 0),
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

    def stop(self) -> None:
        """Say so by health first, take no new call, let calls under way finish."""
        self._health.stop()
        stopped = self._server.stop(STOP_GRACE_SECONDS)
        self._health.end_watches()
        stopped.wait()
