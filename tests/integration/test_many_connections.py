"""More tills at a time than a process may usually have open files."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

from clearing.runtime.addresses import split_address
from tests.integration.alliance import Alliance
from tests.integration.command import served
from tests.open_files import open_files_at_most

FEW_FILES = 512
TILLS = FEW_FILES + 128
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
"""How a client begins a connection: the preface, and settings that set nothing (RFC 9113 §3.4)."""
FRAME_HEADER_BYTES = 9


def test_a_gateway_takes_more_connections_than_its_soft_limit_of_open_files(alliance: Alliance, tmp_path: Path) -> None:
    with ExitStack() as stack:
        with open_files_at_most(FEW_FILES):
            gateway = stack.enter_context(served(alliance, tmp_path))
        address = split_address(gateway.wait_for("serving")["address"])
        tills = [stack.enter_context(socket.create_connection(address)) for _ in range(TILLS)]
        for till in tills:
            till.sendall(HELLO)
        for till in tills:
            assert len(till.recv(FRAME_HEADER_BYTES)) == FRAME_HEADER_BYTES, "it answers with settings of its own"
        alliance.call(gateway.wait_for("serving")["address"])
        alliance.open_card("bakery")
        assert gateway.stop() == 0
