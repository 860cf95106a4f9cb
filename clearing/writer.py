"""The one writer of a log: steps 5 to 9 of a transaction's way.

Many threads hand in authenticated messages and wait. The writer's thread takes what has gathered, decides it as one
batch, commits it in one database transaction and hands out receipts. Only this thread changes ``_state``; other threads
read the immutable values in it, which are swapped whole after a commit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

import sqlalchemy
import structlog

from clearing.authentication import SignedMessage, SignedPresentment
from clearing.batch import Answer, DecidedBatch, LogState, decide_batch
from clearing.batch_report import BatchReport
from clearing.clock import WallClock, system_time
from clearing.errors import ClearingError, ErrorReason, Rejection
from clearing.log.note import Signer
from clearing.log_state import read_log_state
from clearing.metrics import NO_METRICS, Metrics, Stage, StageTimer, WriterGauges
from clearing.model import EntryIndex
from clearing.pool import Call, Pool, Reply
from clearing.receipt import Receipt
from clearing.rules.directory import Directory
from clearing.rules.presentment import AlreadyDecided
from clearing.store.database import snapshot
from clearing.store.database_errors import DatabaseUnavailableError, translated_errors
from clearing.store.head import FencedError, Head
from clearing.store.load import load_ledger
from clearing.store.record import record_batch
from clearing.store.writer_lock import LEASE_SECONDS, WriterLock, WriterLockHeldError, hold_writer_lock
from clearing.stored_log import stored_receipts

logger = structlog.get_logger()

LOCK_CHECK_SECONDS = LEASE_SECONDS / 4
"""How often the writer's lock is asked after: the database takes it from a writer that is silent for its lease."""

UNAVAILABLE_SECONDS_MAX = 5.0
"""How long the database may be out of reach before callers are sent elsewhere; a restart takes a second or two."""

DATABASE_UNAVAILABLE_TEXT = "the gateway cannot reach its database now; send again after the delay in RetryInfo"
"""What callers are told; what the database said is in the gateway's log, since it names hosts and paths."""


class WrongLogKeyError(ClearingError):
    """The log key is not the one the alliance was founded with."""


class Writer:
    """Orders, decides, records and commits. A database's log has one; a second is refused or, failing that, fenced."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        signer: Signer,
        wall_clock: WallClock = system_time,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Take the log up; ``signer`` signs its checkpoints, ``metrics`` is told of every batch.

        Raises ``WriterLockHeldError`` if another writer has the log, ``WrongLogKeyError``, ``LogDamagedError`` and
        ``DatabaseUnavailableError``. ``close`` gives the log back.
        """
        self._engine = engine
        self._signer = signer
        self._wall_clock = wall_clock
        self._pool = Pool()
        self._lock: WriterLock = hold_writer_lock(engine)
        self._lock_seen_s = time.monotonic()
        """When the lock was last known to be held, by the monotonic clock."""
        try:
            self._state = self._read_state()
        except BaseException:  # whatever it was, the log must not stay locked by a writer that never was
            self._lock.release()
            raise
        self._state_in_doubt = False
        self._unavailable_since_s: float | None = None
        """Since when the database has been out of reach, by the monotonic clock; None while it is in reach."""
        self._report = BatchReport(metrics)
        metrics.watch_writer(WriterGauges(lambda: self.transactions_waiting, lambda: self.log_entries, self.is_able))
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    # ---- for any thread ----

    @property
    def directory(self) -> Directory | None:
        """The alliance as of the newest commit; None while the log is empty."""
        return self._state.directory

    @property
    def head(self) -> Head | None:
        """The log's head as of the newest commit; None while the log is empty."""
        return self._state.head

    @property
    def is_writing(self) -> bool:
        """Whether calls are taken: not closing, not fenced."""
        return self._pool.is_open

    def is_able(self) -> bool:
        """Whether it is of use to send calls here: they are taken, and the database is not out of reach for long."""
        since = self._unavailable_since_s
        return self.is_writing and (since is None or time.monotonic() - since < UNAVAILABLE_SECONDS_MAX)

    @property
    def log_entries(self) -> int:
        """Entries in the log as of the newest commit."""
        head = self._state.head
        return head.size if head is not None else 0

    @property
    def transactions_waiting(self) -> int:
        """Transactions in the pool; those of the batch being decided are not in it any more."""
        return self._pool.transactions_waiting

    def submit(self, messages: Sequence[SignedMessage]) -> Future[list[Reply]]:
        """Put messages to the pool (step 4); the future gives one reply each, in order, once they are durable.

        Raises ``Rejection`` with POOL_FULL, SHUTTING_DOWN or FENCED; then none of them was taken.
        """
        return self._pool.put(messages).replies

    def close(self) -> None:
        """Take no further call, finish those taken, give the log back."""
        self._pool.close(Rejection(ErrorReason.SHUTTING_DOWN, "the gateway is stopping; send again"))
        self._thread.join()
        self._lock.release()

    # ---- the writer's thread ----

    def _run(self) -> None:
        while (calls := self._pool.take_batch(LOCK_CHECK_SECONDS)) is not None:
            try:
                self._keep_lock()
                if calls:
                    self._answer(calls)
                self._unavailable_since_s = None
            except DatabaseUnavailableError as error:
                self._unavailable_since_s = self._unavailable_since_s or time.monotonic()
                logger.warning("database_unavailable", error=str(error), calls=len(calls))
                self._state_in_doubt = True
                for call in calls:
                    call.turn_away(Rejection(ErrorReason.DATABASE_UNAVAILABLE, DATABASE_UNAVAILABLE_TEXT))
            except ClearingError as error:
                # Fenced, or the log is not what it should be: whatever it is, this writer must not go on.
                self._stop_writing(error, calls)
            except Exception as error:  # a defect of ours: callers must hear of it, not wait for ever
                logger.exception("writer_failed")
                self._stop_writing(error, calls)

    def _answer(self, calls: list[Call]) -> None:
        """Decide and commit the calls as one batch, and answer each.

        Should deciding them fail in a way it never may, each call is tried alone, so that one bad message does not hold
        up others.
        """
        messages = [message for call in calls for message in call.messages]
        try:
            try:
                replies = self._commit(messages)
            except FencedError:
                if not self._lock.still_held():
                    raise
                # This is the writer: what grew the log was the last commit of one that ended or lost its lock.
                self._state_in_doubt = True
                replies = self._commit(messages)
        except ClearingError:
            raise
        except Exception:  # a defect of ours, whatever it is, must not end the writer
            logger.exception("batch_failed", calls=len(calls))
            self._state_in_doubt = True
            if len(calls) == 1:
                calls[0].turn_away(Rejection(ErrorReason.INTERNAL, "the writer failed; the gateway's log says more"))
                return
            for call in calls:
                self._answer([call])
            return
        start = 0
        for call in calls:
            call.replies.set_result(replies[start : start + len(call.messages)])
            start += len(call.messages)

    def _commit(self, messages: list[SignedMessage]) -> list[Reply]:
        if self._state_in_doubt:
            self._take_up_again()
        timer = StageTimer()
        with translated_errors(), self._engine.begin() as connection:
            # 5 load
            ledger = load_ledger(
                connection,
                presentments=[each.presentment for each in messages if isinstance(each, SignedPresentment)],
                instructions=[each.instruction for each in messages if not isinstance(each, SignedPresentment)],
            )
            timer.ended(Stage.LOAD)
            # 6 decide
            batch = decide_batch(self._state, ledger, messages, self._wall_clock(), self._signer)
            timer.ended(Stage.DECIDE)
            # 7 record
            if batch.record is not None:
                record_batch(connection, batch.record)
            timer.ended(Stage.RECORD)
        # 8 commit: done by leaving the block
        timer.ended(Stage.COMMIT)
        self._state = batch.state
        self._report.committed(batch, timer.seconds)
        # 9 receipt
        return self._replies(batch)

    def _replies(self, batch: DecidedBatch) -> list[Reply]:
        paths = batch.appended.inclusion_paths()
        old_size = batch.appended.old_size
        head = self._state.head
        stored = self._stored_receipts(
            {answer.entry_index for answer in batch.answers if isinstance(answer, AlreadyDecided)}, old_size
        )

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

    def _stored_receipts(self, indexes: set[EntryIndex], old_size: int) -> dict[EntryIndex, Receipt]:
        """Receipts of those entries that were recorded before this batch."""
        earlier = {index for index in indexes if index < old_size}
        head = self._state.head
        if not earlier or head is None:
            return {}
        with snapshot(self._engine) as connection:
            return stored_receipts(connection, earlier, head)

    def _read_state(self) -> LogState:
        with snapshot(self._engine) as connection:
            state = read_log_state(connection)
        if state.directory is not None and state.directory.constitution.log_verifier != self._signer.vkey:
            raise WrongLogKeyError(
                f"the alliance was founded with the log key {state.directory.constitution.log_verifier}, and this is "
                f"{self._signer.vkey}; give the writer the key of the founding"
            )
        return state

    def _keep_lock(self) -> None:
        """Ask after the lock when it is time. If it was lost, another may have written: the state is in doubt."""
        if time.monotonic() - self._lock_seen_s >= LOCK_CHECK_SECONDS and not self._state_in_doubt:
            if self._lock.still_held():
                self._lock_seen_s = time.monotonic()
            else:
                self._state_in_doubt = True
        if self._state_in_doubt:
            self._take_up_again()

    def _take_up_again(self) -> None:
        """After an error it is not known whether the last batch was committed: read it from the database."""
        if not self._lock.still_held():
            self._lock.release()
            try:
                self._lock = hold_writer_lock(self._engine, patience_seconds=0)
            except WriterLockHeldError as error:
                if time.monotonic() - self._lock_seen_s > LEASE_SECONDS:
                    raise
                # It may be our own lost session, which the database ends when its lease is over.
                raise DatabaseUnavailableError(str(error)) from error
        self._lock_seen_s = time.monotonic()
        self._state = self._read_state()
        self._state_in_doubt = False

    def _stop_writing(self, error: Exception, calls: list[Call]) -> None:
        logger.error("writer_stopped", error=str(error))
        if isinstance(error, FencedError | WriterLockHeldError):
            rejection = Rejection(
                ErrorReason.FENCED, "another gateway writes this log now, and this one has stopped; send to that one"
            )
        else:
            rejection = Rejection(ErrorReason.INTERNAL, "the gateway has stopped writing; its log says why")
        self._pool.empty(rejection)
        for call in calls:
            call.turn_away(rejection)
