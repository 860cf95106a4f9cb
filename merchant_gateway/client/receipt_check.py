"""The check that every receipt passes before anything in it is believed, whatever it is a receipt of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError

from clearing.contract.entry import Entry, EntryError, decode_entry
from clearing.contract.receipt import Receipt, verify_receipt
from clearing.errors import ClearingError, Rejection
from clearing.log.checkpoint import Checkpoint
from clearing.log.merkle import ProofError
from clearing.log.note import NoteError, Verifier

PayloadT = TypeVar("PayloadT")


class ReceiptError(ClearingError):
    """A receipt does not prove what it should. Keep it, and ask the alliance: its gateway or its log is at fault."""


class ForkedLogError(ReceiptError):
    """The alliance has shown two logs that cannot be one: it forked, shrank or was rewritten."""

    def __init__(self, message: str, *evidence: str) -> None:
        """``evidence`` is the signed checkpoints that contradict each other: show them to the auditor."""
        super().__init__(f"{message}; keep this error's signed checkpoints as evidence, and have the alliance audited")
        self.evidence = evidence


def proven_entry(receipt: Receipt, verifier: Verifier) -> tuple[Checkpoint, Entry]:
    """The receipt's entry, and the checkpoint that proves it. Raises ``ReceiptError`` unless the alliance signed it."""
    try:
        return verify_receipt(receipt, verifier), decode_entry(receipt.leaf)
    except (NoteError, ProofError, EntryError) as error:
        raise _does_not_hold(receipt, error) from error


def payload_of(receipt: Receipt, entry: Entry, payload_type: str, decode: Callable[[bytes], PayloadT]) -> PayloadT:
    """What was signed in the receipt's entry, as ``decode`` reads it.

    Raises ``ReceiptError`` if it is of another type or malformed.
    """
    if entry.envelope.payload_type != payload_type:
        kind = payload_type.rpartition("clearing.")[2].partition(".")[0]
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which is no {kind}")
    try:
        return decode(entry.envelope.payload)
    except (DecodeError, Rejection) as error:
        raise _does_not_hold(receipt, error) from error


def _does_not_hold(receipt: Receipt, error: Exception) -> ReceiptError:
    return ReceiptError(f"the receipt for entry {receipt.index} does not hold: {error}")
