"""Processes that answer questions for this one. Each has an interpreter, and so a lock, of its own.

All of them are had by this one class: whoever asks waits for so long as it has patience and never for ever, and a
process that ended or is frozen is killed and replaced.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import signal
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final

import structlog

from clearing.closing import Closing
from clearing.errors import ClearingError
from clearing.runtime.telling import telling

logger = structlog.get_logger()

END_SECONDS: Final = 5.0
"""How long a process that is told to end may take for it before it is killed."""
CLOSE_LOOK_SECONDS: Final = 0.05
"""How often whoever closes a process that is asked something kills it, until the asker has noticed."""
LENGTH: Final = struct.Struct("!Q")
"""What stands before each question and answer: its bytes."""
PART_BYTES_MAX: Final = 1 << 16
"""Larger pieces of memory the system makes anew each time."""
TIME_LIMIT: Final = struct.Struct("@ll")
"""C's ``struct timeval``: seconds, microseconds."""

Answer = Callable[[bytes], bytes]
"""What makes an answer of a question."""

_spawning: Final = multiprocessing.get_context("spawn")
"""A fork would copy gRPC's threads as they happen to be."""


class HelperLostError(ClearingError):
    """A question has no answer: its process ended, gave none in time, or cannot be started.

    Whatever was to be done for the answer may be done or not.
    """


class HelperProcess(Closing):
    """Answers one question at a time; any thread may ask, and waits for its turn.

    The process ends when this is closed, and when its parent ends, however that ends.
    """

    def __init__(self, name: str, answering: Callable[..., Answer], *arguments: str, ahead: bool = True) -> None:
        """In the process ``answering`` is called once with the arguments, and what it returns with every question.

        It is started now, and again as soon as it is lost, or if not ``ahead`` with the next question. ``name`` is what
        the log and multiprocessing call it; other processes cannot see the arguments. Raises ``OSError`` if it cannot
        be started now.
        """
        self._name = name
        self._answering = answering
        self._arguments = arguments
        self._ahead = ahead
        self._turn = threading.Lock()
        """Of the thread that asks; whoever holds it may replace the process."""
        self._process: _Process | None = self._start() if ahead else None
        self._is_closed = False

    @property
    def process_id(self) -> int | None:
        """Its id, for now: one that is lost is replaced. None while there is none."""
        process = self._process
        return process.process_id if process is not None else None

    def ask(self, question: bytes, patience_seconds: float) -> bytes:
        """The answer.

        Raises ``HelperLostError`` if there is no sign of one for so long, or as soon as it is certain that none will
        come.
        """
        with self._turn:
            if self._is_closed:
                raise HelperLostError(f"the {self._name} is closed")
            try:
                process = self._process = self._process or self._start()
            except OSError as error:
                raise HelperLostError(
                    f"the {self._name} cannot be started: {error.strerror}; let the gateway have more open files, "
                    "processes or memory"
                ) from None
            try:
                return process.ask(question, patience_seconds)
            except TimeoutError:
                raise self._lost(f"gave no answer within {patience_seconds:g} s") from None
            except (OSError, EOFError):
                raise self._lost("ended") from None

    def close(self) -> None:
        """End it. Whoever waits for an answer gets none."""
        self._is_closed = True
        while not self._turn.acquire(timeout=CLOSE_LOOK_SECONDS):
            asked = self._process
            if asked is not None:
                asked.kill()
        try:
            process, self._process = self._process, None
        finally:
            self._turn.release()
        if process is not None:
            process.end()

    def _start(self) -> _Process:
        return _Process(self._name, self._answering, self._arguments)

    def _lost(self, how: str) -> HelperLostError:
        """Replace the process, which may not be asked any more: it could still answer what nobody waits for."""
        process, self._process = self._process, None
        if process is not None:
            if not self._is_closed:
                with telling("a helper process"):
                    logger.warning("helper_lost", helper=self._name, process_id=process.process_id, how=how)
            process.kill()
            process.end()
        if self._ahead and not self._is_closed:
            with contextlib.suppress(OSError):  # the next question tries again
                self._process = self._start()
        return HelperLostError(f"the {self._name} {how}")


class _Process:
    """One process and the line to it. After anything has failed, it can only be ended."""

    def __init__(self, name: str, answering: Callable[..., Answer], arguments: tuple[str, ...]) -> None:
        with contextlib.ExitStack() as undone:
            self._line, theirs = socket.socketpair()
            undone.enter_context(self._line)
            with theirs:
                self._process = _spawning.Process(
                    target=_answer, args=(theirs, answering, arguments), name=name, daemon=True
                )
                with _signals_blocked():
                    self._process.start()
            undone.pop_all()
        self._patience_seconds = 0.0
        """What the line is set to wait for."""
        weakref.finalize(self, self._line.close)  # at its exit, Python waits for every process that was started

    @property
    def process_id(self) -> int | None:
        return self._process.pid

    def ask(self, question: bytes, patience_seconds: float) -> bytes:
        """The answer. Raises ``TimeoutError``, and ``OSError`` or ``EOFError`` if the process is gone."""
        if patience_seconds != self._patience_seconds:
            # By the system and not by Python's own timeout: with that, a large question goes over in many small parts.
            microseconds = max(round(patience_seconds * 1_000_000), 1)  # none at all would mean for ever
            limit = TIME_LIMIT.pack(*divmod(microseconds, 1_000_000))
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                self._line.setsockopt(socket.SOL_SOCKET, option, limit)
            self._patience_seconds = patience_seconds
        try:
            _send(self._line, question)
            return _receive(self._line)
        except BlockingIOError:
            raise TimeoutError from None

    def kill(self) -> None:
        """End it wherever it is. For any thread."""
        self._process.kill()

    def end(self) -> None:
        """Have it end, and return once it has."""
        self._line.close()
        self._process.join(END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Started in here, a process does not hear what reaches its whole group: who asks it finishes its work first."""
    resource_tracker.ensure_running()  # the first process that is started would start it, and that lets signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(line: socket.socket, message: bytes) -> None:
    line.sendall(LENGTH.pack(len(message)))
    line.sendall(message)


def _receive(line: socket.socket) -> bytes:
    (length,) = LENGTH.unpack(_received(line, LENGTH.size))
    return _received(line, length)


def _received(line: socket.socket, length: int) -> bytes:
    parts = io.BytesIO()
    while length:
        part = line.recv(min(length, PART_BYTES_MAX))
        if not part:
            raise EOFError
        parts.write(part)
        length -= len(part)
    return parts.getvalue()


def _answer(line: socket.socket, answering: Callable[..., Answer], arguments: tuple[str, ...]) -> None:
    answer = answering(*arguments)
    try:
        while True:
            answered = answer(_receive(line))
            _send(line, answered)
    except (OSError, EOFError):  # the other end has hung up
        return
