"""What a client remembers of the alliance's log, so that the alliance cannot show it two."""

from __future__ import annotations

import threading
from collections import OrderedDict

from clearing.log.checkpoint import Checkpoint
from clearing.log.merkle import ProofError, verify_consistency
from merchant_gateway.transaction_receipt import ForkedLogError

CHECKPOINTS_REMEMBERED = 10_000


class SeenLog:
    """The checkpoints seen so far, all of them signed by the alliance. Any thread may use it.

    Answers overtake each other, so a checkpoint smaller than the newest is no sin by itself. Two things are: another root for a
    size seen before, and an answer to a call whose checkpoint is smaller than what was known when the call was made.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._roots: OrderedDict[int, bytes] = OrderedDict()
        self._newest: Checkpoint | None = None
        self._proven: Checkpoint | None = None

    @property
    def newest(self) -> Checkpoint | None:
        """The largest checkpoint seen."""
        with self._lock:
            return self._newest

    @property
    def size(self) -> int:
        """The most entries the log has been seen to have. Ask before a call, for ``see``."""
        newest = self.newest
        return newest.size if newest is not None else 0

    @property
    def proven(self) -> Checkpoint | None:
        """The checkpoint up to which the log is known to have only grown: the first one seen, until more is proven."""
        with self._lock:
            return self._proven

    def see(self, checkpoint: Checkpoint, size_before: int = 0) -> None:
        """Remember a verified checkpoint. ``size_before`` is the log's size as known when the call was made.

        Raises ``ForkedLogError``.
        """
        if checkpoint.size < size_before:
            raise ForkedLogError(
                f"the log shrank: it had {size_before:,} entries before the call, and {checkpoint.size:,} after it; "
                "keep both receipts and have the alliance audited"
            )
        with self._lock:
            root = self._roots.setdefault(checkpoint.size, checkpoint.root)
            if root != checkpoint.root:
                raise ForkedLogError(
                    f"the alliance signed two different logs of {checkpoint.size:,} entries; keep both receipts and have "
                    "the alliance audited"
                )
            if len(self._roots) > CHECKPOINTS_REMEMBERED:
                self._roots.popitem(last=False)
            if self._newest is None or checkpoint.size > self._newest.size:
                self._newest = checkpoint
            if self._proven is None:
                self._proven = checkpoint

    def prove(self, newer: Checkpoint, consistency_path: list[bytes]) -> None:
        """Take note that the log grew from the proven checkpoint to this newer one without changing what was there.

        Raises ``ForkedLogError`` if the path (RFC 6962 §2.1.2) does not show it.
        """
        proven = self.proven
        assert proven is not None, "there is a checkpoint to begin from"
        try:
            verify_consistency(proven.size, newer.size, proven.root, newer.root, consistency_path)
        except ProofError as error:
            raise ForkedLogError(f"{error}; keep the receipts and have the alliance audited") from error
        with self._lock:
            self._proven = newer
