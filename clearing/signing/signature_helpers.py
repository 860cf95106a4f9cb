"""Processes that check signatures for the gateway, a call's at a time.

To check one takes libsodium some sixty microseconds, for which a thread gives Python's interpreter lock away; but then
it has to get the lock back, and where a hundred signatures come in a call, most of the time is spent on waiting for it.
A helper has a lock of its own, and the call's thread waits once.
"""

from __future__ import annotations

import marshal
import os
import queue
from collections.abc import Sequence
from typing import Final

from clearing.closing import Closing
from clearing.runtime.helper_process import Answer, HelperLostError, HelperProcess
from clearing.signing.keys import SignatureCheck, leading_that_hold

HELPERS_MAX: Final = 4
"""More could check more signatures than one writer decides transactions."""
PATIENCE_SECONDS: Final = 10.0
"""How long a helper may take; a call's signatures are checked in less than a second where a processor is free."""


class SignatureHelpers(Closing):
    """One helper a core. Any thread may use them; they end with the block, or with this process."""

    def __init__(self) -> None:
        self._idle: queue.SimpleQueue[HelperProcess] = queue.SimpleQueue()
        self._helpers = min(os.cpu_count() or 1, HELPERS_MAX)
        for _ in range(self._helpers):
            self._idle.put(HelperProcess("signature helper", _checking))

    def leading_that_hold(self, checks: Sequence[SignatureCheck]) -> int:
        """How many of the signatures hold, from the first on; waits for a helper to be free.

        A helper that is lost costs time, and no answer: then the calling thread checks them itself.
        """
        helper = self._idle.get()
        try:
            return int.from_bytes(helper.ask(marshal.dumps(list(checks)), PATIENCE_SECONDS))
        except HelperLostError:
            return leading_that_hold(checks)
        finally:
            self._idle.put(helper)

    def close(self) -> None:
        """End the helpers; no call may be under way."""
        for _ in range(self._helpers):
            self._idle.get().close()


def _checking() -> Answer:
    return lambda question: leading_that_hold(marshal.loads(question)).to_bytes(4)  # noqa: S302 - from our own process
