"""What a client remembers of the alliance's log, so that the alliance cannot show it two."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from clearing.log.checkpoint import Checkpoint
from clearing.log.merkle import ProofError, verify_consistency
from merchant_gateway.client.receipt_check import ForkedLogError

CHECKPOINTS_REMEMBERED = 10_000


class SeenCheckpoint(NamedTuple):
    """A verified checkpoint and the signed note it came in."""

    checkpoint: Checkpoint
    note: str


class SeenLog:
    """The checkpoints seen so far, all of them signed by the alliance. Any thread may use it.

    Answers overtake each other, so a checkpoint smaller than the newest proves nothing by itself. Two things do:
    another root for a size seen before, and an answer whose checkpoint is smaller than one that was known when the
    call was made.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_size: OrderedDict[int, SeenCheckpoint] = OrderedDict()
        self._newest: SeenCheckpoint | None = None
        self._proven: SeenCheckpoint | None = None

    @property
    def newest(self) -> SeenCheckpoint | None:
        """The largest checkpoint seen. Ask before a call, for ``see``."""
        with self._lock:
            return self._newest

    @property
    def proven(self) -> SeenCheckpoint | None:
        """Up to where the log is proven to have only grown: the first checkpoint seen, until more is proven."""
        with self._lock:
            return self._proven

    def see(self, checkpoint: Checkpoint, note: str, newest_before: SeenCheckpoint | None = None) -> None:
        """Remember a verified checkpoint. ``newest_before`` is the largest that was known when the call was made.

        Raises ``ForkedLogError``.
        """
        seen = SeenCheckpoint(checkpoint, note)
        if newest_before is not None and checkpoint.size < newest_before.checkpoint.size:
            raise ForkedLogError(
                f"the log shrank: it had {newest_before.checkpoint.size:,} entries before the call and has "
                f"{checkpoint.size:,} after it",
                newest_before.note,
                note,
            )
        with self._lock:
            known = self._by_size.setdefault(checkpoint.size, seen)
            if known.checkpoint.root != checkpoint.root:
                raise ForkedLogError(f"the alliance signed two logs of {checkpoint.size:,} entries", known.note, note)
            if len(self._by_size) > CHECKPOINTS_REMEMBERED:
                self._by_size.popitem(last=False)
            if self._newest is None or checkpoint.size > self._newest.checkpoint.size:
                self._newest = seen
            if self._proven is None:
                self._proven = seen

    def prove(self, newer: Checkpoint, note: str, consistency_path: Sequence[bytes]) -> None:
        """Take note that the log grew from ``proven`` to this newer checkpoint without changing what was there.

        Raises ``ForkedLogError`` if the path (RFC 6962 §2.1.2) does not show it.
        """
        proven = self.proven
        assert proven is not None, "there is a checkpoint to begin from"
        old = proven.checkpoint
        try:
            verify_consistency(old.size, newer.size, old.root, newer.root, consistency_path)
        except ProofError as error:
            raise ForkedLogError(str(error), proven.note, note) from error
        with self._lock:
            self._proven = SeenCheckpoint(newer, note)
