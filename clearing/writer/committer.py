"""Steps 7 and 8 of a transaction's way: what a decided batch writes is recorded and committed.

On a thread of its own, so that the writer can decide the next batch meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from clearing.postgres.sql import Statement
from clearing.postgres.writing.recorder import Recorder
from clearing.runtime.metrics import Stage, StageTimer
from clearing.writer.answerer import Answerer
from clearing.writer.batch import DecidedBatch, LogState
from clearing.writer.pool import Call


@dataclass(frozen=True, slots=True)
class Committing:
    """A batch on its way into the database."""

    batch: DecidedBatch
    calls: list[Call]
    done: Future[None]
    """Over when it is committed; what it failed with otherwise, and then no call is answered."""


class Committer:
    """Commits one batch after the other."""

    def __init__(
        self,
        recorder: Recorder,
        answerer: Answerer,
        on_committed: Callable[[LogState], None],
        on_done: Callable[[], None],
    ) -> None:
        """``on_committed`` is told what holds from now on, before any call is answered; ``on_done`` that it is over."""
        self._recorder = recorder
        self._answerer = answerer
        self._on_committed = on_committed
        self._on_done = on_done
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="committer")

    def commit(
        self, batch: DecidedBatch, statements: Sequence[Statement], calls: list[Call], timer: StageTimer
    ) -> Committing:
        """Have the batch committed by these statements, and its calls answered. The one before must be over."""
        done = self._thread.submit(self._commit, batch, statements, calls, timer)
        done.add_done_callback(lambda _: self._on_done())
        return Committing(batch, calls, done)

    def pause(self) -> None:
        """Hold no connection while there is nothing to do; nothing may be under way."""
        self._recorder.pause()

    def close(self) -> None:
        """End, once every call is answered; nothing may be under way."""
        self._thread.shutdown()
        self._answerer.close()
        self._recorder.pause()

    def _commit(
        self, batch: DecidedBatch, statements: Sequence[Statement], calls: list[Call], timer: StageTimer
    ) -> None:
        if statements:
            recorded = self._recorder.commit(statements)
            timer.took(Stage.RECORD, recorded.record_seconds)
            timer.took(Stage.COMMIT, recorded.commit_seconds)
        self._on_committed(batch.state)
        self._answerer.answer(batch, calls, timer)
