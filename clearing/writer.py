"""The one writer of a log: steps 4 to 8 of a transaction's way.

Many threads hand in authenticated messages and wait. The writer's thread takes what has gathered, decides it as one
batch, commits it in one database transaction and hands out receipts. Only this thread changes ``_state``; other threads
read the immutable values in it, which are swapped whole after a commit.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import sqlalchemy
import structlog

from clearing.authentication import SignedMessage, SignedPresentment
from clearing.batch import Answer, DecidedBatch, LogState, decide_batch
from clearing.clock import WallClock, system_time
from clearing.errors import ClearingError, ErrorReason, Rejection
from clearing.log.note import Signer
from clearing.log_state import read_log_state
from clearing.model import EntryIndex
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

POOL_TRANSACTIONS_MAX = 20_000
"""Transactions that may wait: about a second or two of work, so that a till hears "later" rather than nothing."""
BATCH_TRANSACTIONS_MAX = 2_000
"""Transactions after which a batch takes no further call, so that nobody waits for a long one."""
LOCK_CHECK_SECONDS = LEASE_SECONDS / 4
"""How often the writer's lock is asked after: the database takes it from a writer that is silent for its lease."""

DATABASE_UNAVAILABLE_TEXT = "the gateway cannot reach its database now; send again after the delay in RetryInfo"
"""What callers are told; what the database said is in the gateway's log, since it names hosts and paths."""

Reply = Receipt | Rejection


@dataclass(frozen=True, slots=True)
class _Call:
    """Messages that came together and are answered together."""

    messages: Sequence[SignedMessage]
    transactions: int
    replies: Future[list[Reply]] = field(default_factory=Future)


class WrongLogKeyError(ClearingError):
    """The log key is not the one the alliance was founded with."""


class Writer:
    """Orders, decides, records and commits. A database's log has one; a second is refused or, failing that, fenced."""

    def __init__(self, engine: sqlalchemy.Engine, signer: Signer, wall_clock: WallClock = system_time) -> None:
        """Take the log up; ``signer`` signs its checkpoints.

        Raises ``WriterLockHeldError`` if another writer has the log, ``WrongLogKeyError``, ``LogDamagedError`` and
        ``DatabaseUnavailableError``. ``close`` gives the log back.
        """
        self._engine = engine
        self._signer = signer
        self._wall_clock = wall_clock
        self._pool: deque[_Call] = deque()
        self._pool_transactions = 0
        self._pool_changed = threading.Condition()
        self._turned_away: Rejection | None = None
        """Once set, why no further call is taken."""
        self._lock: WriterLock = hold_writer_lock(engine)
        self._lock_seen_s = time.monotonic()
        """When the lock was last known to be held, by the monotonic clock."""
        try:
            self._state = self._read_state()
        except BaseException:  # whatever it was, the log must not stay locked by a writer that never was
            self._lock.release()
            raise
        self._state_in_doubt = False
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
        return self._turned_away is None

    @property
    def transactions_waiting(self) -> int:
        """Transactions in the pool; those of the batch being decided are not in it any more."""
        return self._pool_transactions

    def submit(self, messages: Sequence[SignedMessage]) -> Future[list[Reply]]:
        """Put messages to the pool (step 4); the future gives one reply each, in order, once they are durable.

        Raises ``Rejection`` with POOL_FULL, SHUTTING_DOWN or FENCED; then none of them was taken.
        """
        call = _Call(messages, sum(map(_weight, messages)))
        with self._pool_changed:
            if self._turned_away is not None:
                raise _copy(self._turned_away)
            if self._pool and self._pool_transactions + call.transactions > POOL_TRANSACTIONS_MAX:
                raise Rejection(
                    ErrorReason.POOL_FULL,
                    f"{self._pool_transactions:,} transactions wait already; send again after the delay in RetryInfo",
                )
            self._pool.append(call)
            self._pool_transactions += call.transactions
            self._pool_changed.notify()
        return call.replies

    def close(self) -> None:
        """Take no further call, finish those taken, give the log back."""
        with self._pool_changed:
            if self._turned_away is None:
                self._turned_away = Rejection(ErrorReason.SHUTTING_DOWN, "the gateway is stopping; send again")
            self._pool_changed.notify()
        self._thread.join()
        self._lock.release()

    # ---- the writer's thread ----

    def _run(self) -> None:
        while (calls := self._next_calls()) is not None:
            try:
                self._keep_lock()
                if calls:
                    self._answer(calls)
            except DatabaseUnavailableError as error:
                logger.warning("database_unavailable", error=str(error), calls=len(calls))
                self._state_in_doubt = True
                _turn_away(calls, Rejection(ErrorReason.DATABASE_UNAVAILABLE, DATABASE_UNAVAILABLE_TEXT))
            except ClearingError as error:
                # Fenced, or the log is not what it should be: whatever it is, this writer must not go on.
                self._stop_writing(error, calls)
            except Exception as error:  # a defect of ours: callers must hear of it, not wait for ever
                logger.exception("writer_failed")
                self._stop_writing(error, calls)

    def _next_calls(self) -> list[_Call] | None:
        """The calls of the next batch; none when it is time to ask after the lock; None once closed and all done."""
        with self._pool_changed:
            if not self._pool and self._turned_away is None:
                self._pool_changed.wait(LOCK_CHECK_SECONDS)
            if not self._pool and self._turned_away is not None:
                return None
            calls: list[_Call] = []
            transactions = 0
            while self._pool and transactions < BATCH_TRANSACTIONS_MAX:
                call = self._pool.popleft()
                calls.append(call)
                transactions += call.transactions
            self._pool_transactions -= transactions
            return calls

    def _answer(self, calls: list[_Call]) -> None:
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
                _turn_away(calls, Rejection(ErrorReason.INTERNAL, "the writer failed; the gateway's log says more"))
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
        with translated_errors(), self._engine.begin() as connection:
            # 5 load
            ledger = load_ledger(
                connection,
                presentments=[each.presentment for each in messages if isinstance(each, SignedPresentment)],
                instructions=[each.instruction for each in messages if not isinstance(each, SignedPresentment)],
            )
            # 6 decide
            batch = decide_batch(self._state, ledger, messages, self._wall_clock(), self._signer)
            # 7 record
            if batch.record is not None:
                record_batch(connection, batch.record)
        # 8 commit: done by leaving the block
        self._state = batch.state
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
                self._lock = hold_writer_lock(self._engine)
            except WriterLockHeldError as error:
                if time.monotonic() - self._lock_seen_s > LEASE_SECONDS:
                    raise
                # It may be our own lost session, which the database ends when its lease is over.
                raise DatabaseUnavailableError(str(error)) from error
        self._lock_seen_s = time.monotonic()
        self._state = self._read_state()
        self._state_in_doubt = False

    def _stop_writing(self, error: Exception, calls: list[_Call]) -> None:
        logger.error("writer_stopped", error=str(error))
        if isinstance(error, FencedError | WriterLockHeldError):
            rejection = Rejection(
                ErrorReason.FENCED, "another gateway writes this log now, and this one has stopped; send to that one"
            )
        else:
            rejection = Rejection(ErrorReason.INTERNAL, "the gateway has stopped writing; its log says why")
        with self._pool_changed:
            self._turned_away = rejection
            calls = [*calls, *self._pool]
            self._pool.clear()
            self._pool_transactions = 0
        _turn_away(calls, rejection)


def _weight(message: SignedMessage) -> int:
    return len(message.presentment.transactions) if isinstance(message, SignedPresentment) else 1


def _turn_away(calls: Sequence[_Call], rejection: Rejection) -> None:
    for call in calls:
        if not call.replies.done():
            call.replies.set_exception(_copy(rejection))


def _copy(rejection: Rejection) -> Rejection:
    """Its like for one caller: an exception that is raised over and over keeps the frames of every time."""
    return Rejection(rejection.reason, rejection.message, field=rejection.field)
