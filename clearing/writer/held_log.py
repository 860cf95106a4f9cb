"""The log as its writer holds it: the lock, and the state that is committed."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy

from clearing.errors import ClearingError
from clearing.log.note import Signer
from clearing.postgres.database import snapshot
from clearing.postgres.database_errors import DatabaseUnavailableError
from clearing.postgres.writing.writer_lock import WriterLock, WriterLockHeldError, hold_writer_lock
from clearing.writer.batch import LogState
from clearing.writer.log_state import read_log_state


class WrongLogKeyError(ClearingError):
    """The log key is not the one the alliance was founded with."""


class HeldLog:
    """For the writer's thread, but for what says otherwise."""

    def __init__(
        self, engine: sqlalchemy.Engine, signer: Signer, lock: WriterLock | None, on_reread: Callable[[], None]
    ) -> None:
        """Read the state, under ``lock`` where that is held already; ``signer`` signs the log's checkpoints.

        ``on_reread`` is told, later, when what is remembered besides the state may be wrong, too. Raises
        ``WriterLockHeldError`` if another writer has the log, ``WrongLogKeyError``, ``LogDamagedError`` and
        ``DatabaseUnavailableError``.
        """
        self._engine = engine
        self._signer = signer
        self._on_reread = on_reread
        self._lock = lock if lock is not None else hold_writer_lock(engine)
        try:
            self.state = self._read_state()
            """What is committed. Swapped whole; any thread may read it."""
        except BaseException:  # whatever it was, the log must not stay locked by a writer that never was
            self._lock.release()
            raise
        self._is_uncertain = False

    @property
    def seen_s(self) -> float:
        """When the lock was last known to be held, by the monotonic clock. For any thread."""
        return self._lock.seen_s

    @property
    def is_lost(self) -> bool:
        """Whether the lock was found lost."""
        return self._lock.is_lost

    def still_held(self) -> bool:
        """Ask the database whether the lock is held."""
        return self._lock.still_held()

    def committed(self, state: LogState) -> None:
        """Take this for the state from now on. For any thread."""
        self.state = state

    def mark_uncertain(self) -> None:
        """After an error it is not known whether the last batch was committed."""
        self._is_uncertain = True

    def reload_if_uncertain(self) -> None:
        """Have the lock and the state that is committed: where they are in doubt, take up both again.

        Raises what taking them up raises; ``DatabaseUnavailableError`` where the lock will be free again before long.
        """
        if not self._lock.is_lost and not self._is_uncertain:
            return
        self._is_uncertain = True  # while the lock was lost, another may have written
        if not self._lock.still_held():
            self._lock.release()
            try:
                self._lock = hold_writer_lock(self._engine, patience_seconds=0)
            except WriterLockHeldError as error:
                if error.holder is not None and error.holder.session != self._lock.session_id:
                    raise
                # Our own lost session, which the database ends when its lease is over; or nobody any more.
                raise DatabaseUnavailableError(str(error)) from error
        self.state = self._read_state()
        # Only now: read before, it would lack what an earlier writer's last commit added to the log in between.
        self._on_reread()
        self._is_uncertain = False

    def release(self) -> None:
        """Give the log back."""
        self._lock.release()

    def _read_state(self) -> LogState:
        with snapshot(self._engine) as connection:
            state = read_log_state(connection)
        if state.directory is not None and state.directory.constitution.log_verifier != self._signer.vkey:
            raise WrongLogKeyError(
                f"the alliance was founded with the log key {state.directory.constitution.log_verifier}, and this is "
                f"{self._signer.vkey}; give the writer the key of the founding"
            )
        return state
