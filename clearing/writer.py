"""The one writer of a log: steps 4 to 8 of a transaction's way.

Many threads hand in authenticated messages and wait. The writer's thread takes what has gathered, decides it as one batch, commits it in
one database transaction and hands out receipts. Only this thread changes ``_state``; other threads read the immutable values
in it, which are swapped whole after a commit.
"""

from __future__ import annotations

import threading
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
from clearing.receipt import Receipt
from clearing.rules.directory import Directory
from clearing.rules.presentment import AlreadyDecided
from clearing.store.database_errors import DatabaseUnavailableError, translated_errors
from clearing.store.head import FencedError, Head
from clearing.store.load import load_ledger
from clearing.store.record import record_batch
from clearing.store.writer_lock import WriterLock, WriterLockHeldError, hold_writer_lock
from clearing.stored_log import stored_receipt

logger = structlog.get_logger()

POOL_TRANSACTIONS_MAX = 20_000
"""Transactions that may wait: about a second or two of work, so that a till hears "later" rather than nothing."""
BATCH_TRANSACTIONS_MAX = 2_000
"""Transactions after which a batch takes no further call, so that nobody waits for a long one."""

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
        try:
            self._state = self._read_state()
        except ClearingError:
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

    def submit(self, messages: Sequence[SignedMessage]) -> Future[list[Reply]]:
        """Put messages to the pool (step 4); the future gives one reply each, in order, once they are durable.

        Raises ``Rejection`` with POOL_FULL, SHUTTING_DOWN or FENCED; then none of them was taken.
        """
        call = _Call(messages, sum(map(_weight, messages)))
        with self._pool_changed:
            if self._turned_away is not None:
                raise self._turned_away
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
        while calls := self._next_calls():
            try:
                self._answer(calls)
            except DatabaseUnavailableError as error:
                self._state_in_doubt = True
                _turn_away(calls, Rejection(ErrorReason.DATABASE_UNAVAILABLE, str(error)))
            except ClearingError as error:
                # Fenced, or the log is not what it should be: whatever it is, this writer must not go on.
                self._stop_writing(error, calls)

    def _next_calls(self) -> list[_Call]:
        """The calls of the next batch; empty once closing and nothing is left."""
        with self._pool_changed:
            while not self._pool and self._turned_away is None:
                self._pool_changed.wait()
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

        Should deciding them fail in a way it never may, each call is tried alone, so that one bad message does not hold up others.
        """
        try:
            replies = self._commit([message for call in calls for message in call.messages])
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

        def reply(answer: Answer) -> Reply:
            if isinstance(answer, Rejection):
                return answer
            assert head is not None, "what was decided is in the log"
            index, replayed = (answer.entry_index, True) if isinstance(answer, AlreadyDecided) else (answer, False)
            if index < old_size:
                with translated_errors(), self._engine.connect() as connection:
                    return stored_receipt(connection, index, head)
            place = index - old_size
            return Receipt(batch.entries[place].leaf, index, paths[place], head.checkpoint, replayed)

        return [reply(answer) for answer in batch.answers]

    def _read_state(self) -> LogState:
        with translated_errors(), self._engine.connect() as connection:
            state = read_log_state(connection)
        if state.directory is not None and state.directory.constitution.log_verifier != self._signer.vkey:
            raise WrongLogKeyError(
                f"the alliance was founded with the log key {state.directory.constitution.log_verifier}, and this is "
                f"{self._signer.vkey}; give the writer the key of the founding"
            )
        return state

    def _take_up_again(self) -> None:
        """After an error it is not known whether the last batch was committed: read it from the database."""
        if not self._lock.still_held():
            self._lock = hold_writer_lock(self._engine)
        self._state = self._read_state()
        self._state_in_doubt = False

    def _stop_writing(self, error: ClearingError, calls: list[_Call]) -> None:
        logger.error("writer_stopped", error=str(error))
        reason = ErrorReason.FENCED if isinstance(error, FencedError | WriterLockHeldError) else ErrorReason.INTERNAL
        rejection = Rejection(reason, f"this gateway has stopped writing: {error}")
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
            call.replies.set_exception(rejection)
