"""Step 9 of a transaction's way: the calls of a committed batch get their receipts.

On a thread of its own, so that the next batch can be committed meanwhile.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import sqlalchemy

from clearing.contract.receipt import Receipt
from clearing.errors import Rejection
from clearing.model import EntryIndex
from clearing.postgres.database import snapshot
from clearing.postgres.reading.stored_log import stored_receipts
from clearing.rules.presentment import AlreadyDecided
from clearing.runtime.metrics import Metrics, StageTimer
from clearing.runtime.telling import telling
from clearing.writer.batch import Answer, DecidedBatch
from clearing.writer.batch_report import BatchReport
from clearing.writer.pool import Call, Reply


class Answerer:
    """Answers the calls of one committed batch after the other, and then tells log and metrics of it."""

    def __init__(self, engine: sqlalchemy.Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._report = BatchReport(metrics)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answerer")

    def answer(self, batch: DecidedBatch, calls: list[Call], timer: StageTimer) -> None:
        """Have the calls answered: the batch is committed."""
        self._thread.submit(self._answer, batch, calls, timer)

    def close(self) -> None:
        """End, once every call is answered."""
        self._thread.shutdown()

    def _answer(self, batch: DecidedBatch, calls: list[Call], timer: StageTimer) -> None:
        try:
            self._reply(batch, calls)
        except Exception as error:  # whatever it was, callers must hear of it and not wait for ever
            for call in calls:
                if not call.replies.done():
                    call.replies.set_exception(error)
        with telling("a committed batch"):
            self._report.committed(batch, timer.seconds)

    def _reply(self, batch: DecidedBatch, calls: list[Call]) -> None:
        """Give each call its receipts; those that need an entry of an earlier batch fail if that cannot be read."""
        paths = batch.appended.inclusion_paths()
        old_size = batch.appended.old_size
        head = batch.state.head
        stored: dict[EntryIndex, Receipt] | Exception
        try:
            stored = self._stored_receipts(batch, old_size)
        except Exception as error:  # whatever it was, it is nothing to those whose entries are new
            stored = error

        def reply(answer: Answer) -> Reply:
            if isinstance(answer, Rejection):
                return answer
            assert head is not None, "what was decided is in the log"
            index, replayed = (answer.entry_index, True) if isinstance(answer, AlreadyDecided) else (answer, False)
            if index < old_size:
                if isinstance(stored, Exception):
                    raise stored
                return stored[index]
            place = index - old_size
            return Receipt(batch.entries[place].leaf, index, paths[place], head.checkpoint, replayed)

        start = 0
        for call in calls:
            end = start + len(call.messages)
            try:
                replies = [reply(answer) for answer in batch.answers[start:end]]
            except Exception as error:  # this call's own: the others go on
                call.replies.set_exception(error)
            else:
                call.replies.set_result(replies)
            start = end

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
