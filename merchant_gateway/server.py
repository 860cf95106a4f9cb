"""The gRPC server: which services it offers, on which address, and how it starts and stops."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clearing.errors import ClearingError
from merchant_gateway.errors import ErrorInterceptor

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

    def __init__(self, address: str, services: Sequence[AddService], *, reflect: bool = False) -> None:
        """Listen on ``address``, host and port; port 0 takes a free one.

        Raises ``ListenError`` if the port is in use, the address is not this machine's, or it is not loopback: traffic
        is not encrypted, so it must not leave the machine.
        """
        host, port = split_address(address)
        _require_loopback(host)
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="call"),
            interceptors=[ErrorInterceptor()],
            options=(
                # Two servers on one port would each get some of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ),
        )
        for add_service in services:
            add_service(self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflect:
            reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            raise ListenError(
                f"cannot listen on {address}: the port is in use, or the address is not this machine's; stop the other "
                "program or choose another with --address"
            ) from None
        self.address = f"{host}:{self.port}"

    def start(self) -> None:
        """Serve."""
        self._server.start()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> None:
        """Say so by health first, take no new call, let calls under way finish."""
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.stop(STOP_GRACE_SECONDS).wait()

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for service in ("", *SERVICES):
            self._health.set(service, status)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``. Raises ``ListenError`` if it is not of that form."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ListenError(f"{address!r} is no address; write host and port, such as 127.0.0.1:7070")
    return host, int(port)


def _require_loopback(host: str) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ListenError(f"{host} is not loopback, and the gateway does not encrypt: listen on 127.0.0.1 or [::1]")
