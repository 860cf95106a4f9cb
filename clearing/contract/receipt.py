"""Step 9 of a transaction's way: the receipt, which is the log's entry with the proof that it is in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.merkle import leaf_hash, verify_inclusion
from clearing.log.note import Verifier
from clearing.model import EntryIndex
from clearing.v1 import entry_pb2

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer


@dataclass(frozen=True, slots=True)
class Receipt:
    """An entry, its place, and the path from it to the root of a signed checkpoint."""

    leaf: bytes
    """The serialised entry."""
    index: EntryIndex
    inclusion_path: tuple[bytes, ...]
    """RFC 6962 §2.1.1, from the leaf up."""
    checkpoint: str
    """Signed note (C2SP tlog-checkpoint)."""
    replayed: bool
    """The message had been decided before; this is the original entry under the newest checkpoint."""

    def message(self) -> entry_pb2.Receipt:
        """The receipt as the contract has it."""
        return entry_pb2.Receipt(
            entry=self.leaf,
            index=self.index,
            inclusion_path=self.inclusion_path,
            checkpoint=self.checkpoint,
            replayed=self.replayed,
        )

    def add_to(self, messages: RepeatedCompositeFieldContainer[entry_pb2.Receipt]) -> None:
        """Put the receipt, as the contract has it, last into a message's field; spares copying it there."""
        messages.add(
            entry=self.leaf,
            index=self.index,
            inclusion_path=self.inclusion_path,
            checkpoint=self.checkpoint,
            replayed=self.replayed,
        )


def receipt_of(message: entry_pb2.Receipt) -> Receipt:
    """The value of a receipt as the contract has it; not verified yet."""
    return Receipt(
        message.entry, EntryIndex(message.index), tuple(message.inclusion_path), message.checkpoint, message.replayed
    )


def verify_receipt(receipt: Receipt, verifier: Verifier) -> Checkpoint:
    """The checkpoint under which the receipt proves its entry.

    Raises ``NoteError`` unless the alliance's key signed the checkpoint, ``ProofError`` unless the entry is in its
    tree.
    """
    checkpoint = open_checkpoint(receipt.checkpoint, verifier)
    verify_inclusion(leaf_hash(receipt.leaf), receipt.index, checkpoint.size, receipt.inclusion_path, checkpoint.root)
    return checkpoint
