"""The one writer of a log: steps 5 to 9 of a transaction's way.

Many threads hand in authenticated messages and wait. The writer's thread takes what has gathered and decides it as one
batch; the committer's thread commits it in one database transaction, while the writer's decides the next batch upon
what this one will have left, and the answerer's hands out the receipts of the one before. At most one batch is decided
ahead. If a batch is not committed, the one decided upon it is dropped with it, and what holds is read from the database
again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager

import sqlalchemy
import structlog

from clearing.clock import WallClock, system_time
from clearing.deciding.authentication import SignedMessage
from clearing.deciding.batch_record import Head
from clearing.errors import ErrorReason, Rejection, is_defect
from clearing.log.note import Signer
from clearing.postgres.database_errors import DatabaseUnavailableError
from clearing.postgres.head import FencedError, fenced
from clearing.postgres.writing.record import statements_of
from clearing.postgres.writing.recorder import DatabaseRecorder, Recorder
from clearing.postgres.writing.writer_lock import WriterLock, WriterLockHeldError
from clearing.rules.case import SettlementOf, no_settlement
from clearing.rules.directory import Directory
from clearing.rules.presentment import AlreadyDecided
from clearing.runtime.metrics import NO_METRICS, Metrics, Stage, StageTimer, WriterGauges
from clearing.runtime.telling import telling
from clearing.writer.answerer import Answerer
from clearing.writer.batch import DecidedBatch, decide_batch
from clearing.writer.committer import Committer, Committing
from clearing.writer.held_log import HeldLog
from clearing.writer.loading import Loader
from clearing.writer.pool import Call, Pool, Reply

logger = structlog.get_logger()

AHEAD_TRANSACTIONS_MIN = 250
"""Transactions worth deciding while the batch before them is being committed. Fewer do better to gather: a batch has
costs of its own."""

LOCK_CHECK_SECONDS = 1.0
"""How often an idle writer looks whether it still has its lock, and with it its database."""

UNAVAILABLE_SECONDS_MAX = 5.0
"""How long the database may be out of reach before callers are sent elsewhere; a restart takes a second or two."""

DATABASE_UNAVAILABLE_TEXT = "the gateway cannot use its database now; send again after the delay in RetryInfo"
"""What callers are told; what the database said is in the gateway's log, since it names hosts and paths."""


class Writer:
    """Orders, decides, records and commits. A database's log has one; a second is refused or, failing that, fenced."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        signer: Signer,
        wall_clock: WallClock = system_time,
        metrics: Metrics = NO_METRICS,
        lock: WriterLock | None = None,
        recorder: Recorder | None = None,
        settlement_of: SettlementOf = no_settlement,
    ) -> None:
        """Take the log up; ``signer`` signs its checkpoints, ``metrics`` is told of every batch.

        ``lock`` is the writer's lock where it is held already, and becomes this object's own. ``recorder`` commits
        its batches; without one they are committed from this process. ``settlement_of`` says, without waiting, what a
        closed window settles to; proposals and approvals are judged by it. Raises
        ``WriterLockHeldError`` if another writer has the log, ``WrongLogKeyError``, ``LogDamagedError`` and
        ``DatabaseUnavailableError``. ``close`` gives the log back.
        """
        self._log = HeldLog(engine, signer, lock, on_reread=lambda: self._loader.forget())
        self._signer = signer
        self._wall_clock = wall_clock
        self._settlement_of = settlement_of
        self._pool = Pool()
        self._unavailable_since_s: float | None = None
        """Since when the database has been out of reach, by the monotonic clock; None while it is in reach."""
        self._loader = Loader(engine)
        recorder = recorder if recorder is not None else DatabaseRecorder(engine)
        self._committer = Committer(recorder, Answerer(engine, metrics), self._log.committed, self._pool.wake)
        self._ahead: Committing | None = None
        """The batch decided last, until it is known to be committed."""
        metrics.watch_writer(WriterGauges(lambda: self.transactions_waiting, lambda: self.log_entries, self.is_able))
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    # ---- for any thread ----

    @property
    def directory(self) -> Directory | None:
        """The alliance as of the newest commit; None while the log is empty."""
        return self._log.state.directory

    @property
    def head(self) -> Head | None:
        """The log's head as of the newest commit; None while the log is empty."""
        return self._log.state.head

    @property
    def is_writing(self) -> bool:
        """Whether calls are taken: not closing, not fenced."""
        return self._pool.is_open

    def is_able(self) -> bool:
        """Whether it is of use to send calls here: they are taken, and the database is not out of reach for long."""
        now_s, since_s = time.monotonic(), self._unavailable_since_s
        # A database that neither answers nor hangs up fails no batch, but it does not confirm the lock either.
        is_heard = now_s - self._log.seen_s < UNAVAILABLE_SECONDS_MAX + LOCK_CHECK_SECONDS
        return self.is_writing and is_heard and (since_s is None or now_s - since_s < UNAVAILABLE_SECONDS_MAX)

    @property
    def log_entries(self) -> int:
        """Entries in the log as of the newest commit."""
        head = self._log.state.head
        return head.size if head is not None else 0

    @property
    def transactions_waiting(self) -> int:
        """Transactions in the pool; those of the batch being decided are not in it any more."""
        return self._pool.transactions_waiting

    def room_for(self, messages: int) -> AbstractContextManager[None]:
        """Room in the pool for a call of so many messages while it is authenticated.

        Entering raises ``Rejection`` with POOL_FULL.
        """
        return self._pool.room_for(messages)

    def submit(self, messages: Sequence[SignedMessage]) -> Future[list[Reply]]:
        """Put messages to the pool (step 4); the future gives one reply each, in order, once they are durable.

        Raises ``Rejection`` with POOL_FULL, SHUTTING_DOWN or FENCED; then none of them was taken.
        """
        return self._pool.put(messages).replies

    def take_no_more(self) -> None:
        """Turn further calls away with SHUTTING_DOWN; those taken are finished."""
        self._pool.close(Rejection(ErrorReason.SHUTTING_DOWN, "the gateway is stopping; send again"))

    def close(self) -> None:
        """Take no further call, finish those taken, give the log back."""
        self.take_no_more()
        self._thread.join()
        self._log.release()

    # ---- the writer's thread ----

    def _run(self) -> None:
        while (calls := self._pool.take_batch(LOCK_CHECK_SECONDS, self._worth_taking())) is not None:
            self._work(calls)
        try:
            self._await_commit()
        except Exception as error:  # whatever it was, callers must hear of it and not wait for ever
            self._recover(error, self._undone([]))
        self._loader.close()
        self._committer.close()

    def _worth_taking(self) -> int:
        """For how many transactions to wait: a small batch decided ahead would only wait where they do now."""
        return 1 if self._ahead is None or self._ahead.done.done() else AHEAD_TRANSACTIONS_MIN

    def _work(self, calls: list[Call]) -> None:
        """Decide the calls as one batch; where there are none, see to what is under way."""
        try:
            if self._ahead is None and not calls:
                self._loader.pause()
                self._committer.pause()
            if self._ahead is None or self._ahead.done.done() or self._log.is_lost:
                self._await_commit()
                # Never with a batch under way: it could be committed after the state is read.
                self._log.reload_if_uncertain()
            if calls:
                self._decide(calls)
            elif self._ahead is None:
                self._unavailable_since_s = None
        except Exception as error:  # whatever it was, callers must hear of it and not wait for ever
            self._recover(error, self._undone(calls))

    def _decide(self, calls: list[Call]) -> None:
        """Load and decide the calls upon what was decided last, and have them committed next."""
        messages = [message for call in calls for message in call.messages]
        ahead = self._ahead.batch if self._ahead is not None else None
        timer = StageTimer()
        # 5 load
        ledger = self._loader.load(messages, ahead.record if ahead is not None else None)
        timer.ended(Stage.LOAD)
        # 6 decide
        state = ahead.state if ahead is not None else self._log.state
        batch = decide_batch(state, ledger, messages, self._wall_clock(), self._signer, self._settlement_of)
        timer.ended(Stage.DECIDE)
        # 7 record, 8 commit, 9 receipt
        statements = list(statements_of(batch.record)) if batch.record is not None else []
        timer.ended(Stage.RECORD)
        self._await_commit()
        if batch.record is None:
            _require_newest(batch)
        self._loader.keep(ledger.cards, batch.record)
        self._ahead = self._committer.commit(batch, statements, calls, timer)

    def _await_commit(self) -> None:
        """Wait until the batch that was decided last is committed. Raises what it failed with."""
        if self._ahead is not None:
            self._ahead.done.result()
            self._ahead = None
            self._unavailable_since_s = None

    def _undone(self, calls: list[Call]) -> list[Call]:
        """All calls that came to nothing: these, and before them those of the batch under way if it failed."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead.done.exception() is None:
            return calls
        return [*ahead.calls, *calls]

    def _recover(self, error: Exception, calls: list[Call]) -> None:
        """Go on after an error, if that is possible.

        The calls are tried once more if another writer's last commit was in their way; and each alone if something
        failed in a way it never may, so that one bad message does not hold up others.
        """
        self._log.mark_uncertain()
        match error:
            case FencedError() if self._log.still_held():
                # This is the writer: what grew the log was the last commit of one that ended or lost its lock.
                self._try_again(calls)
            case _ if not calls or not is_defect(error):
                self._give_up(error, calls)
            case _:
                with telling("a failed batch"):
                    logger.error("batch_failed", calls=len(calls), exc_info=error)
                for call in calls:
                    self._try_again([call])

    def _try_again(self, calls: list[Call]) -> None:
        """Decide and commit these by themselves."""
        try:
            self._log.reload_if_uncertain()
            self._decide(calls)
            self._await_commit()
        except Exception as error:  # a defect of ours, whatever it is, must not end the writer
            self._ahead = None
            self._log.mark_uncertain()
            self._give_up(error, calls)

    def _give_up(self, error: Exception, calls: list[Call]) -> None:
        """Turn the calls away; and stop, unless the database is only away or it is these calls that cannot be done."""
        if isinstance(error, DatabaseUnavailableError):
            self._unavailable_since_s = self._unavailable_since_s or time.monotonic()
            rejection = Rejection(ErrorReason.DATABASE_UNAVAILABLE, DATABASE_UNAVAILABLE_TEXT)
        elif not is_defect(error) or not calls:
            # Fenced, or the log is not what it should be: whatever it is, this writer must not go on.
            rejection = (
                Rejection(
                    ErrorReason.FENCED,
                    "another gateway writes this log now, and this one has stopped; send to that one",
                )
                if isinstance(error, FencedError | WriterLockHeldError)
                else Rejection(ErrorReason.INTERNAL, "the gateway has stopped writing; its log says why")
            )
            self._pool.empty(rejection)
        else:
            rejection = Rejection(ErrorReason.INTERNAL, "the writer failed; the gateway's log says more")
        for call in calls:
            call.turn_away(rejection)
        with telling("calls given up"):
            _log_given_up(error, len(calls))


def _log_given_up(error: Exception, calls: int) -> None:
    """Say why these many calls were turned away, or why the writer has stopped."""
    if isinstance(error, DatabaseUnavailableError):
        logger.warning("database_unavailable", error=str(error), calls=calls)
    elif not is_defect(error) or not calls:
        logger.error("writer_stopped", error=str(error))
    else:
        logger.error("calls_failed", calls=calls, exc_info=error)


def _require_newest(batch: DecidedBatch) -> None:
    """Raise ``FencedError`` where a message was decided in an entry beyond the state that the batch was decided upon.

    A batch that records something learns by the swap of the heads that the log has grown; this one does not.
    """
    size = batch.appended.old_size
    if any(isinstance(answer, AlreadyDecided) and answer.entry_index >= size for answer in batch.answers):
        raise fenced(size)
