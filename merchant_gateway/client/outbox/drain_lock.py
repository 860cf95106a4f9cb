"""One sender at a time, over all threads and processes that share an outbox."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.01


class DrainLock:
    """A lock file beside the outbox. The operating system frees it when its holder dies, however that happens."""

    def __init__(self, path: Path) -> None:
        """``path`` is the outbox's."""
        self._path = path.with_name(path.name + "-drain")
        self._of_this_process = threading.Lock()

    @contextmanager
    def held(self, deadline: float) -> Iterator[bool]:
        """Whether the lock was had before the deadline (``time.monotonic``); until the block is left it is held.

        Raises ``OSError`` if the file cannot be made.
        """
        if not self._of_this_process.acquire(timeout=max(0.0, deadline - time.monotonic())):
            yield False
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                # Closing the descriptor lets go.
                yield _locked(descriptor, deadline)
            finally:
                os.close(descriptor)
        finally:
            self._of_this_process.release()


def _locked(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        else:
            return True
