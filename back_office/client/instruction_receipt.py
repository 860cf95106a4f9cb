"""What an instruction came to, taken from its receipt only after the receipt has been verified."""

from __future__ import annotations

from dataclasses import dataclass

from clearing.contract.instruction import PAYLOAD_TYPE, decode_instruction
from clearing.contract.receipt import Receipt
from clearing.log.note import Verifier
from clearing.model import EntryIndex, Instant, Outcome, Points, WindowRange
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.receipt_check import ReceiptError, payload_of, proven_entry


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
    _, entry = proven_entry(receipt, verifier)
    recorded = payload_of(receipt, entry, PAYLOAD_TYPE, decode_instruction)
    if entry.instruction_result is None:
        raise ReceiptError(f"entry {receipt.index} does not give its instruction a result")
    if not receipt.replayed and entry.envelope.payload != envelope.payload:
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which holds another instruction than was sent")
    # The content is all but when it was signed, and until when it counts.
    if decode_instruction(envelope.payload).content_digest != recorded.content_digest:
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
