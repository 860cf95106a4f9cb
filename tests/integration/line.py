"""A line between a client and a gateway, of plain sockets, that can be cut at any byte, or fall silent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from clearing.runtime.addresses import split_address

CHUNK_BYTES = 65_536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends RST instead of FIN."""


class Cut(NamedTuple):
    """Where a connection is cut, and how."""

    is_of_answers: bool
    """Whether the bytes are counted that come from the gateway."""
    after_bytes: int
    """So many of them still arrive, from now on."""
    is_reset: bool
    """By RST; otherwise by FIN."""


@dataclass(eq=False, slots=True)
class Connection:
    """One client's connection and its continuation to the gateway."""

    client: socket.socket
    gateway: socket.socket
    carriers: int = 2
    """Threads that carry its bytes."""
    requests_are_lost: bool = False
    answers_are_lost: bool = False

    def hang_up(self, *, is_reset: bool = False) -> None:
        """End both halves: by FIN at once, or by RST when they are closed."""
        for each in (self.client, self.gateway):
            with contextlib.suppress(OSError):  # ended already
                if is_reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                each.shutdown(socket.SHUT_RD if is_reset else socket.SHUT_RDWR)


class Line:
    """Forwards connections, until told otherwise. Its threads end with the block."""

    def __init__(self, gateway_address: str) -> None:
        self._target = split_address(gateway_address)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._cut: Cut | None = None
        self._bytes_left = 0
        self.cuts = 0
        """Made so far."""
        self._threads: list[threading.Thread] = []

    def cut_once(self, cut: Cut) -> None:
        """Cut whichever connection carries that byte."""
        with self._lock:
            self._cut, self._bytes_left = cut, cut.after_bytes

    def forget_cut(self) -> None:
        """Leave the connections alone."""
        with self._lock:
            self._cut = None

    def fall_silent(self) -> None:
        """On the connections there are, nothing arrives any more; new ones are good."""
        with self._lock:
            for each in self._connections:
                each.requests_are_lost = each.answers_are_lost = True

    def lose_answers(self) -> None:
        """On the connections there are, nothing arrives any more from the gateway."""
        with self._lock:
            for each in self._connections:
                each.answers_are_lost = True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            connection = Connection(client, socket.create_connection(self._target))
            with self._lock:
                self._connections.add(connection)
            for is_of_answers in (False, True):
                self._start(partial(self._carry, connection, is_of_answers))

    def _carry(self, connection: Connection, is_of_answers: bool) -> None:
        source, sink = connection.client, connection.gateway
        if is_of_answers:
            source, sink = sink, source
        with contextlib.suppress(OSError):  # cut, or closed by either side
            while data := source.recv(CHUNK_BYTES):
                if connection.answers_are_lost if is_of_answers else connection.requests_are_lost:
                    continue
                data, cut = self._until_cut(data, is_of_answers)
                sink.sendall(data)
                if cut is not None:
                    connection.hang_up(is_reset=cut.is_reset)
                    break
        connection.hang_up()
        with self._lock:
            connection.carriers -= 1
            if not connection.carriers:
                connection.client.close()
                connection.gateway.close()
                self._connections.discard(connection)

    def _until_cut(self, data: bytes, is_of_answers: bool) -> tuple[bytes, Cut | None]:
        with self._lock:
            cut = self._cut
            if cut is None or cut.is_of_answers is not is_of_answers:
                return data, None
            if len(data) <= self._bytes_left:
                self._bytes_left -= len(data)
                return data, None
            self._cut = None
            self.cuts += 1
            return data[: self._bytes_left], cut

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Self:
        """Take connections."""
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all of them."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for each in connections:
            each.hang_up()
        for thread in self._threads:
            thread.join()
