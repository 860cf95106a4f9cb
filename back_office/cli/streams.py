"""The standard streams where nothing can be written to them, such as to a file on a full disk, or to none at all."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

from clearing.errors import ClearingError

STAND_INS: Final = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
"""In the order of their descriptors. The one of standard output cannot be written: a result must not be lost unsaid."""


class OutputLostError(ClearingError):
    """What the command came to cannot be written."""


def replace_closed_streams() -> None:
    """Put something in the place of each standard stream that was closed before the program began.

    Or the next file or connection that is opened gets its descriptor, and what others write to the stream with it.
    """
    for name, mode, flags in STAND_INS:
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)  # the system gives the lowest that is free
            os.set_inheritable(descriptor, True)  # as standard streams are
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


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


class MessageStream:
    """Standard error, which never fails whoever writes: what finds no room is lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a line, or a part of one."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is in memory."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """All else as the stream has it."""
        return getattr(self._stream, name)
