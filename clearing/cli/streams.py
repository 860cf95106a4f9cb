"""The standard streams where nothing can be written to them any more, such as to a file on a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any, TextIO

from clearing.errors import ClearingError


class OutputLostError(ClearingError):
    """What the command came to cannot be written."""


class ResultStream:
    """Standard output; where it takes nothing any more, a command ends with ``OutputLostError``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write some text, which may stay in memory for now."""
        with self._reported():
            return self._stream.write(text)

    def flush(self) -> None:
        """Write what is in memory."""
        with self._reported():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """All else as the stream has it."""
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever reads has had enough: that is no failure, and seen to elsewhere
            # Or Python complains once more, in its own words, when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise OutputLostError(
                f"the result cannot be written to standard output: {error.strerror}; what was done stays done: make "
                "room or send the output elsewhere, and run the same command again"
            ) from error


class LogStream:
    """A stream for the log, which never fails whoever logs: a line that finds no room is lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write a line, or a part of one."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Write what is in memory."""
        with contextlib.suppress(OSError):
            self._stream.flush()
