"""Steps 7 to 9 of a transaction's way: a decided batch is recorded and committed, and its calls get their receipts.

On a thread of its own, so that the writer can decide the next batch meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy

from clearing.batch import Answer, DecidedBatch, LogState
from clearing.batch_report import BatchReport
from clearing.errors import Rejection
from clearing.metrics import Metrics, Stage, StageTimer
from clearing.model import EntryIndex
from clearing.pool import Call, Reply
from clearing.receipt import Receipt
from clearing.rules.presentment import AlreadyDecided
from clearing.store.database import snapshot
from clearing.store.held_connection import HeldConnection
from clearing.store.record import record_batch
from clearing.stored_log import stored_receipts


@dataclass(frozen=True, slots=True)
class Committing:
    """A batch on its way into the database."""

    batch: DecidedBatch
    calls: list[Call]
    done: Future[None]
    """Over when the calls are answered; what it failed with otherwise, and then no call is answered."""


class Committer:
    """Commits one batch after the other."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        metrics: Metrics,
        on_committed: Callable[[LogState], None],
        on_done: Callable[[], None],
    ) -> None:
        """``on_committed`` is told what holds from now on, before any call is answered; ``on_done`` that it is over."""
        self._engine = engine
        self._report = BatchReport(metrics)
        self._on_committed = on_committed
        self._on_done = on_done
        self._connection = HeldConnection(engine)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="committer")

    def commit(self, batch: DecidedBatch, calls: list[Call], timer: StageTimer) -> Committing:
        """Have the batch committed and the calls answered. The one before must be over."""
        done = self._thread.submit(self._commit, batch, calls, timer)
        done.add_done_callback(lambda _: self._on_done())
        return Committing(batch, calls, done)

    def pause(self) -> None:
        """Hold no connection while there is nothing to do; nothing may be under way."""
        self._connection.release()

    def close(self) -> None:
        """End the thread; nothing may be under way."""
        self._thread.shutdown()
        self._connection.release()

    def _commit(self, batch: DecidedBatch, calls: list[Call], timer: StageTimer) -> None:
        if batch.record is not None:
            timer.goes_on()
            with self._connection.transaction() as connection:
                record_batch(connection, batch.record)
                timer.ended(Stage.RECORD)
            timer.ended(Stage.COMMIT)
        self._on_committed(batch.state)
        self._report.committed(batch, timer.seconds)
        replies = self._replies(batch)
        start = 0
        for call in calls:
            end = start + len(call.messages)
            call.replies.set_result(replies[start:end])
            start = end

    def _replies(self, batch: DecidedBatch) -> list[Reply]:
        paths = batch.appended.inclusion_paths()
        old_size = batch.appended.old_size
        head = batch.state.head
        stored = self._stored_receipts(batch, old_size)

        def reply(answer: Answer) -> Reply:
            if isinstance(answer, Rejection):
                return answer
            assert head is not None, "what was decided is in the log"
            index, replayed = (answer.entry_index, True) if isinstance(answer, AlreadyDecided) else (answer, False)
            if index < old_size:
                return stored[index]
            place = index - old_size
            return Receipt(batch.entries[place].leaf, index, paths[place], head.checkpoint, replayed)

        return [reply(answer) for answer in batch.answers]

    def _stored_receipts(self, batch: DecidedBatch, old_size: int) -> dict[EntryIndex, Receipt]:
        """Receipts of those entries that answer a message and were recorded before this batch."""
        earlier = {
            answer.entry_index
            for answer in batch.answers
            if isinstance(answer, AlreadyDecided) and answer.entry_index < old_size
        }
        head = batch.state.head
        if not earlier or head is None:
            return {}
        with snapshot(self._engine) as connection:
            return stored_receipts(connection, earlier, head)
