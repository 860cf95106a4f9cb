"""What people kept of a log, held against it: whether the alliance has signed one log all along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from clearing.contract.receipt import Receipt, verify_receipt
from clearing.errors import ClearingError
from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.folder import LogFolder
from clearing.log.merkle import leaf_hash
from clearing.log.note import Verifier
from clearing.log.tree import RightEdge, append

LEAVES_PER_APPEND = 4_096


class TwoLogsError(ClearingError):
    """The alliance has signed for two logs that cannot be one: it rewrote or cut its log, or keeps a second one."""


class _Kept(NamedTuple):
    """A root or a leaf hash that the alliance has signed for, and the file that shows it."""

    hash: bytes
    source: str


@dataclass(slots=True)
class Evidence:
    """Checkpoints and entries, each under the alliance's signature, from the files of whoever kept them."""

    verifier: Verifier
    _roots: dict[int, _Kept] = field(default_factory=dict)
    """By the log's size."""
    _leaves: dict[int, _Kept] = field(default_factory=dict)
    """By the entry's index."""

    @property
    def checkpoints(self) -> int:
        """How many sizes of the log it speaks of."""
        return len(self._roots)

    @property
    def entries(self) -> int:
        """How many entries it speaks of."""
        return len(self._leaves)

    def add_checkpoint(self, signed_checkpoint: str, source: str) -> None:
        """Add a checkpoint; ``source`` is the file that holds it.

        Raises ``NoteError`` unless the alliance's key signed it, ``TwoLogsError`` if it contradicts another piece.
        """
        self._add_root(open_checkpoint(signed_checkpoint, self.verifier), source)

    def add_receipt(self, receipt: Receipt, source: str) -> None:
        """Add a receipt: its entry and its checkpoint.

        Raises ``NoteError`` or ``ProofError`` unless it holds, ``TwoLogsError`` if it contradicts another piece.
        """
        self._add_root(verify_receipt(receipt, self.verifier), source)
        hashed = leaf_hash(receipt.leaf)
        known = self._leaves.setdefault(receipt.index, _Kept(hashed, source))
        if known.hash != hashed:
            raise _contradiction(f"{known.source} and {source} hold different entries {receipt.index:,}")

    def _add_root(self, checkpoint: Checkpoint, source: str) -> None:
        known = self._roots.setdefault(checkpoint.size, _Kept(checkpoint.root, source))
        if known.hash != checkpoint.root:
            raise _contradiction(f"{known.source} and {source} are of different logs of {checkpoint.size:,} entries")

    def require_kept_by(self, folder: LogFolder) -> None:
        """Compare with an exported log: every entry must be there unchanged, every checkpoint on the way to its own.

        Raises ``TwoLogsError`` at the first difference, ``FolderError`` if the export is not in order itself.
        """
        edge, hashes = RightEdge.empty(), list[bytes]()
        for index, entry in enumerate(folder.entries()):
            hashes.append(leaf_hash(entry))
            leaf = self._leaves.get(index)
            if leaf is not None and leaf.hash != hashes[-1]:
                raise _contradiction(f"entry {index:,} of this export is not the one in {leaf.source}")
            root = self._roots.get(index + 1)
            if root is not None or len(hashes) == LEAVES_PER_APPEND:
                edge, hashes = append(edge, hashes).edge, []
            if root is not None and edge.root() != root.hash:
                raise _contradiction(
                    f"the first {index + 1:,} entries of this export are not those that {root.source} is signed for"
                )
        largest = max(self._roots, default=0)
        if largest > folder.checkpoint.size:
            raise _contradiction(
                f"{self._roots[largest].source} is signed for {largest:,} entries, and this export has "
                f"{folder.checkpoint.size:,}. If the export is older than that file, make a new one. If it is not, "
                "entries were cut off"
            )


def _contradiction(what: str) -> TwoLogsError:
    return TwoLogsError(f"{what}: the alliance signed two different logs; keep both as evidence")
