"""The one writer of a log: steps 5 to 9 of a transaction's way.

Many threads hand in authenticated messages and wait. The writer's thread takes what has gathered and decides it as one
batch; the committer's thread commits it in one database transaction and hands out receipts, while the writer's decides
the next batch upon what this one will have left. At most one batch is decided ahead. If a batch is not committed, the
one decided upon it is dropped with it, and what holds is read from the database again.

``_state`` is what is committed. It is swapped whole after a commit, and any thread may read the immutable values in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager

import sqlalchemy
import structlog

from clearing.authentication import SignedMessage, SignedPresentment
from clearing.batch import LogState, decide_batch
from clearing.card_cache import CardCache
from clearing.clock import WallClock, system_time
from clearing.committer import Committer, Committing
from clearing.errors import ClearingError, ErrorReason, Rejection
from clearing.log.note import Signer
from clearing.log_state import read_log_state
from clearing.metrics import NO_METRICS, Metrics, Stage, StageTimer, WriterGauges
from clearing.pool import Call, Pool, Reply
from clearing.rules.directory import Directory
from clearing.store.database import snapshot
from clearing.store.database_errors import DatabaseUnavailableError
from clearing.store.head import FencedError, Head
from clearing.store.held_connection import HeldConnection
from clearing.store.load import load_ledger
from clearing.store.writer_lock import WriterLock, WriterLockHeldError, hold_writer_lock

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
        lock: WriterLock | None = None,
    ) -> None:
        """Take the log up; ``signer`` signs its checkpoints, ``metrics`` is told of every batch.

        ``lock`` is the writer's lock where it is held already, and becomes this object's own. Raises
        ``WriterLockHeldError`` if another writer has the log, ``WrongLogKeyError``, ``LogDamagedError`` and
        ``DatabaseUnavailableError``. ``close`` gives the log back.
        """
        self._engine = engine
        self._signer = signer
        self._wall_clock = wall_clock
        self._pool = Pool()
        self._lock = lock if lock is not None else hold_writer_lock(engine)
        try:
            self._state = self._read_state()
        except BaseException:  # whatever it was, the log must not stay locked by a writer that never was
            self._lock.release()
            raise
        self._state_in_doubt = False
        self._unavailable_since_s: float | None = None
        """Since when the database has been out of reach, by the monotonic clock; None while it is in reach."""
        self._cards = CardCache()
        self._loading = HeldConnection(engine)
        self._committer = Committer(engine, metrics, self._take_over, self._pool.wake)
        self._ahead: Committing | None = None
        """The batch decided last, until it is known to be committed."""
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
        now_s, since_s = time.monotonic(), self._unavailable_since_s
        # A database that neither answers nor hangs up fails no batch, but it does not confirm the lock either.
        is_heard = now_s - self._lock.seen_s < UNAVAILABLE_SECONDS_MAX + LOCK_CHECK_SECONDS
        return self.is_writing and is_heard and (since_s is None or now_s - since_s < UNAVAILABLE_SECONDS_MAX)

    @property
    def log_entries(self) -> int:
        """Entries in the log as of the newest commit."""
        head = self._state.head
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
        self._lock.release()

    # ---- the writer's thread ----

    def _run(self) -> None:
        while (calls := self._pool.take_batch(LOCK_CHECK_SECONDS, self._worth_taking())) is not None:
            self._work(calls)
        try:
            self._settle()
        except Exception as error:  # whatever it was, callers must hear of it and not wait for ever
            self._recover(error, self._undone([]))
        self._loading.release()
        self._committer.close()

    def _worth_taking(self) -> int:
        """For how many transactions to wait: a small batch decided ahead would only wait where they do now."""
        return 1 if self._ahead is None or self._ahead.done.done() else AHEAD_TRANSACTIONS_MIN

    def _work(self, calls: list[Call]) -> None:
        """Decide the calls as one batch; where there are none, see to what is under way."""
        try:
            if self._ahead is None and not calls:
                self._loading.release()
                self._committer.pause()
            if self._ahead is not None and (self._ahead.done.done() or self._lock.is_lost):
                self._settle()
            self._keep_lock()
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
        record = ahead.record if ahead is not None else None
        timer = StageTimer()
        with self._loading.transaction() as connection:
            # 5 load
            ledger = load_ledger(
                connection,
                presentments=[each.presentment for each in messages if isinstance(each, SignedPresentment)],
                instructions=[each.instruction for each in messages if not isinstance(each, SignedPresentment)],
                known_cards=self._cards.known,
                known_transactions=record.transactions if record is not None else {},
                known_instructions=record.instructions if record is not None else {},
            )
        timer.ended(Stage.LOAD)
        # 6 decide
        state = ahead.state if ahead is not None else self._state
        batch = decide_batch(state, ledger, messages, self._wall_clock(), self._signer)
        timer.ended(Stage.DECIDE)
        self._settle()
        self._cards.keep(ledger.cards)
        # 7 record, 8 commit, 9 receipt
        self._ahead = self._committer.commit(batch, calls, timer)

    def _settle(self) -> None:
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
        self._state_in_doubt = True
        match error:
            case FencedError() if self._lock.still_held():
                # This is the writer: what grew the log was the last commit of one that ended or lost its lock.
                self._try_again(calls)
            case ClearingError():
                self._give_up(error, calls)
            case _ if not calls:
                self._give_up(error, calls)
            case _:
                logger.error("batch_failed", calls=len(calls), exc_info=error)
                for call in calls:
                    self._try_again([call])

    def _try_again(self, calls: list[Call]) -> None:
        """Decide and commit these by themselves."""
        try:
            self._keep_lock()
            self._decide(calls)
            self._settle()
        except Exception as error:  # a defect of ours, whatever it is, must not end the writer
            self._ahead = None
            self._state_in_doubt = True
            self._give_up(error, calls)

    def _give_up(self, error: Exception, calls: list[Call]) -> None:
        """Turn the calls away; and stop, unless the database is only away or it is these calls that cannot be done."""
        if isinstance(error, DatabaseUnavailableError):
            self._unavailable_since_s = self._unavailable_since_s or time.monotonic()
            logger.warning("database_unavailable", error=str(error), calls=len(calls))
            rejection = Rejection(ErrorReason.DATABASE_UNAVAILABLE, DATABASE_UNAVAILABLE_TEXT)
        elif isinstance(error, ClearingError) or not calls:
            # Fenced, or the log is not what it should be: whatever it is, this writer must not go on.
            logger.error("writer_stopped", error=str(error))
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
            logger.error("calls_failed", calls=len(calls), exc_info=error)
            rejection = Rejection(ErrorReason.INTERNAL, "the writer failed; the gateway's log says more")
        for call in calls:
            call.turn_away(rejection)

    def _take_over(self, state: LogState) -> None:
        self._state = state

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
        """If the lock was lost, another may have written: the state is in doubt."""
        if self._lock.is_lost:
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
                if error.holder is not None and error.holder.session != self._lock.session_id:
                    raise
                # Our own lost session, which the database ends when its lease is over; or nobody any more.
                raise DatabaseUnavailableError(str(error)) from error
        self._cards.clear()
        self._state = self._read_state()
        self._state_in_doubt = False
