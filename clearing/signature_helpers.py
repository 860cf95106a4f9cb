"""Processes that check signatures for the gateway, a call's at a time.

To check one takes libsodium some sixty microseconds, for which a thread gives Python's interpreter lock away; but then
it has to get the lock back, and where a hundred signatures come in a call, most of the time is spent on waiting for it.
A helper has a lock of its own, and the call's thread waits once.
"""

from __future__ import annotations

import marshal
import multiprocessing
import os
import queue
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, NamedTuple, Self

import structlog

from clearing.keys import SignatureCheck, leading_that_hold

logger = structlog.get_logger()

HELPERS_MAX: Final = 4
"""More could check more signatures than one writer decides transactions."""
END_SECONDS: Final = 5.0


class _Helper(NamedTuple):
    process: multiprocessing.process.BaseProcess
    connection: Connection


class SignatureHelpers:
    """One helper a core. Any thread may use them; they end with the block, or with this process."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork would copy gRPC's threads as they happen to be
        self._idle: queue.SimpleQueue[_Helper] = queue.SimpleQueue()
        self._helpers = min(os.cpu_count() or 1, HELPERS_MAX)
        for _ in range(self._helpers):
            self._idle.put(self._start())

    def leading_that_hold(self, checks: Sequence[SignatureCheck]) -> int:
        """How many of the signatures hold, from the first on; waits for a helper to be free."""
        helper = self._idle.get()
        try:
            helper.connection.send_bytes(marshal.dumps(list(checks)))
            return int.from_bytes(helper.connection.recv_bytes())
        except (OSError, EOFError):
            logger.warning("signature_helper_lost", process_id=helper.process.pid)
            helper.connection.close()
            helper = self._start()
            return leading_that_hold(checks)
        finally:
            self._idle.put(helper)

    def close(self) -> None:
        """End the helpers; no call may be under way."""
        helpers = [self._idle.get() for _ in range(self._helpers)]
        for helper in helpers:
            helper.connection.close()
        for helper in helpers:
            helper.process.join(END_SECONDS)
            if helper.process.is_alive():
                helper.process.kill()
                helper.process.join()

    def _start(self) -> _Helper:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_help, args=(theirs,), name="signature helper", daemon=True)
        process.start()
        theirs.close()
        return _Helper(process, ours)

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the helpers, whatever happened."""
        self.close()


def _help(connection: Connection) -> None:
    """Check what comes until the other end hangs up, as it does when its process ends, however it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the gateway finishes its calls first
    try:
        while True:
            held = leading_that_hold(marshal.loads(connection.recv_bytes()))  # noqa: S302 - from our own process
            connection.send_bytes(held.to_bytes(4))
    except (OSError, EOFError):
        return
