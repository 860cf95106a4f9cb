"""What a merchant's system gets for each transaction, and the checks by which it need not trust the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clearing.contract.decoding import content_digest
from clearing.contract.entry import Entry
from clearing.contract.presentment import PAYLOAD_TYPE
from clearing.contract.receipt import Receipt
from clearing.log.checkpoint import Checkpoint
from clearing.log.note import Verifier
from clearing.model import EntryIndex, Instant, MerchantId, Outcome, Points, Reference
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.presentment_pb2 import Presentment, Transaction
from merchant_gateway.client.receipt_check import ReceiptError, payload_of, proven_entry


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """What one transaction came to, with the proof of it."""

    merchant: MerchantId
    reference: Reference
    outcome: Outcome
    points: Points
    """Points that moved."""
    points_available: Points
    """What the card could spend afterwards."""
    points_owed: Points
    """What the card owed afterwards."""
    replayed: bool
    """It had been decided before; this is what was decided then."""
    entry_index: EntryIndex
    """The entry that decided it."""
    position: int
    """Its place among the transactions of the receipt's entry, from 0."""
    accepted_at: Instant
    """The ledger's time of the receipt's entry: its local month is the window."""
    receipt: Receipt
    """The proof, verified. Its entry is another than ``entry_index`` only where a presentment mixed decided and new
    transactions; it then repeats the decision."""

    @property
    def is_accepted(self) -> bool:
        """Whether it was done; if not, ``outcome`` says why."""
        return self.outcome is Outcome.ACCEPTED


def check_submitted(
    envelope: Envelope, receipt: Receipt, verifier: Verifier
) -> tuple[Checkpoint, list[TransactionReceipt]]:
    """What a presentment in its envelope came to, one for each transaction, and the checkpoint that proves it.

    Raises ``ReceiptError`` unless the alliance signed for an entry that holds exactly this payload or, of a replayed
    one, each of its transactions with the same content.
    """
    checkpoint, entry, recorded = _presented(receipt, verifier)
    if not receipt.replayed and entry.envelope.payload != envelope.payload:
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which holds another payload than was sent")
    sent = Presentment.FromString(envelope.payload)
    if (recorded.origin, recorded.merchant) != (sent.origin, sent.merchant):
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which is another merchant's")
    if not receipt.replayed:
        positions: Sequence[int] = range(len(sent.transactions))
    else:
        # Who signed the original is not checked: it may have been a key that was retired since, and whoever did,
        # these are the merchant's own transactions to the letter.
        positions = _positions_of(sent.transactions, recorded, receipt.index)
    return checkpoint, [_transaction_receipt(receipt, entry, recorded, position) for position in positions]


def check_recorded(
    merchant: MerchantId, reference: Reference, receipt: Receipt, position: int, verifier: Verifier
) -> tuple[Checkpoint, TransactionReceipt]:
    """What the transaction at a place of a receipt's entry came to. Raises ``ReceiptError`` if another stands there."""
    checkpoint, entry, recorded = _presented(receipt, verifier)
    is_there = position < len(recorded.transactions) and recorded.transactions[position].reference == reference
    if recorded.merchant != merchant or recorded.origin != verifier.name or not is_there:
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which does not hold {reference!r} at {position}")
    return checkpoint, _transaction_receipt(receipt, entry, recorded, position)


def _presented(receipt: Receipt, verifier: Verifier) -> tuple[Checkpoint, Entry, Presentment]:
    checkpoint, entry = proven_entry(receipt, verifier)
    recorded = payload_of(receipt, entry, PAYLOAD_TYPE, Presentment.FromString)
    if len(recorded.transactions) != len(entry.transaction_results):
        raise ReceiptError(f"entry {receipt.index} does not give each of its transactions a result")
    return checkpoint, entry, recorded


def _positions_of(sent: Sequence[Transaction], recorded: Presentment, index: EntryIndex) -> list[int]:
    """Where each transaction that was sent stands in the recorded presentment."""
    places: dict[str, int] = {}
    for position, transaction in enumerate(recorded.transactions):
        places.setdefault(transaction.reference, position)
    positions = []
    for transaction in sent:
        place = places.get(transaction.reference)
        if place is None or content_digest(recorded.transactions[place]) != content_digest(transaction):
            raise ReceiptError(
                f"the receipt is of entry {index}, which does not hold {transaction.reference!r} as it was sent"
            )
        positions.append(place)
    return positions


def _transaction_receipt(receipt: Receipt, entry: Entry, recorded: Presentment, position: int) -> TransactionReceipt:
    result = entry.transaction_results[position]
    return TransactionReceipt(
        merchant=MerchantId(recorded.merchant),
        reference=Reference(recorded.transactions[position].reference),
        outcome=result.outcome,
        points=result.points,
        points_available=result.points_available,
        points_owed=result.points_owed,
        replayed=receipt.replayed or result.original_index is not None,
        entry_index=receipt.index if result.original_index is None else result.original_index,
        position=position,
        accepted_at=entry.accepted_at,
        receipt=receipt,
    )
