"""A limit on lines of the log: whoever sends rubbish in a flood must not fill the operator's disk with it."""

from __future__ import annotations

import threading
import time


class LineLimit:
    """At most so many lines a second; what is left out is counted. Any thread may use it."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._lock = threading.Lock()
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def allows_one(self) -> bool:
        """Whether a line may be written now; if so it counts as written."""
        second = int(time.monotonic())
        with self._lock:
            if second != self._second:
                self._second, self._lines = second, 0
            if self._lines >= self._per_second:
                self._left_out += 1
                return False
            self._lines += 1
            return True

    def take_left_out(self) -> int:
        """How many lines were left out since this was last asked, to be told in the next one."""
        with self._lock:
            left_out, self._left_out = self._left_out, 0
            return left_out
