"""What an instruction came to, taken from its receipt only after the receipt has been verified."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from clearing.contract.decoding import content_digest
from clearing.contract.entry import EntryError, decode_entry
from clearing.contract.instruction import PAYLOAD_TYPE
from clearing.contract.receipt import Receipt, verify_receipt
from clearing.log.merkle import ProofError
from clearing.log.note import NoteError, Verifier
from clearing.model import EntryIndex, Instant, Outcome, Points, WindowRange
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.instruction_pb2 import Instruction
from merchant_gateway.client.transaction_receipt import ReceiptError


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided instruction."""

    reference: str
    outcome: Outcome
    entry_index: EntryIndex
    accepted_at: Instant
    """The ledger's time."""
    replayed: bool
    """It had been decided before; this is what was decided then."""
    window_range: WindowRange | None
    """Of a closed window."""
    points_expired: Points
    """Of expired lots."""


def decided_by(envelope: Envelope, receipt: Receipt, verifier: Verifier) -> Decided:
    """What the receipt proves about the instruction in the envelope.

    Raises ``ReceiptError`` unless the alliance signed for an entry with exactly this payload or, of a replayed one,
    with the same instruction signed at another time.
    """
    try:
        verify_receipt(receipt, verifier)
        entry = decode_entry(receipt.leaf)
        recorded = Instruction.FromString(entry.envelope.payload)
    except (NoteError, ProofError, EntryError, DecodeError) as error:
        raise ReceiptError(f"the receipt for entry {receipt.index} does not hold: {error}") from error
    if entry.envelope.payload_type != PAYLOAD_TYPE or entry.instruction_result is None:
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which is no instruction")
    if not receipt.replayed and entry.envelope.payload != envelope.payload:
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which holds another instruction than was sent")
    sent = Instruction.FromString(envelope.payload)
    if _content(sent) != _content(recorded):
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which holds another instruction than was sent")
    return Decided(
        reference=recorded.reference,
        outcome=entry.instruction_result.outcome,
        entry_index=receipt.index,
        accepted_at=entry.accepted_at,
        replayed=receipt.replayed,
        window_range=entry.instruction_result.window_range,
        points_expired=entry.instruction_result.points_expired,
    )


def _content(instruction: Instruction) -> bytes:
    """The instruction but for when it was signed."""
    unsigned = Instruction()
    unsigned.CopyFrom(instruction)
    unsigned.ClearField("issued_at")
    return content_digest(unsigned)
