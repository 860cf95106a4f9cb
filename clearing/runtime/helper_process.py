"""A process that answers questions for this one, over a pipe. It has an interpreter, and so a lock, of its own."""

from __future__ import annotations

import multiprocessing
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Final

from clearing.closing import Closing

END_SECONDS: Final = 5.0

Answer = Callable[[bytes], bytes]
"""What makes an answer of a question."""

_spawning: Final = multiprocessing.get_context("spawn")
"""A fork would copy gRPC's threads as they happen to be."""


class HelperProcess(Closing):
    """Answers one question at a time. It ends when it is closed, and when this process ends, however that ends."""

    def __init__(self, name: str, answering: Callable[..., Answer], *arguments: str) -> None:
        """Start it; there, ``answering`` is called once with the arguments, and what it returns with every question.

        ``name`` is what multiprocessing calls it. Other processes cannot see the arguments.
        """
        self._pipe, theirs = _spawning.Pipe()
        self._process = _spawning.Process(target=_answer, args=(theirs, answering, arguments), name=name, daemon=True)
        with _signals_blocked():
            self._process.start()
        theirs.close()
        weakref.finalize(self, self._pipe.close)  # at its exit, Python waits for every process that was started

    @property
    def process_id(self) -> int | None:
        """Its id."""
        return self._process.pid

    def ask(self, question: bytes, patience_seconds: float | None = None) -> bytes:
        """The answer. Raises ``OSError`` or ``EOFError`` if the process is gone: then nobody knows how far it came.

        With ``patience_seconds`` also if there is no answer after so long: then nothing more may be asked. A question
        that is larger than the pipe's buffer may wait for the process before that, for as long as it is frozen.
        """
        self._pipe.send_bytes(question)
        if not self._pipe.poll(patience_seconds):
            raise TimeoutError("no answer")
        return self._pipe.recv_bytes()

    def kill(self) -> None:
        """End it wherever it is. For any thread."""
        self._process.kill()

    def hang_up(self) -> None:
        """Have it end once it has answered; nothing may be asked any more."""
        self._pipe.close()

    def wait(self) -> None:
        """Return once it has ended, by force if need be."""
        self._process.join(END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def close(self) -> None:
        """End it; nothing may be under way."""
        self.hang_up()
        self.wait()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Started in here, a process does not hear what reaches its whole group: who asks it finishes its work first."""
    resource_tracker.ensure_running()  # the first process that is started would start it, and that lets signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(pipe: Connection, answering: Callable[..., Answer], arguments: tuple[str, ...]) -> None:
    answer = answering(*arguments)
    try:
        while True:
            pipe.send_bytes(answer(pipe.recv_bytes()))
    except (OSError, EOFError):  # the other end has hung up
        return
