"""What a merchant checks its statement against: the log's entry that proposes the month's settlement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from clearing.contract.instruction import PAYLOAD_TYPE, decode_instruction
from clearing.contract.receipt import Receipt
from clearing.log.note import Verifier
from clearing.model import EntryIndex, MerchantId, Outcome, ProposeSettlement, WindowId
from merchant_gateway.client.receipt_check import ReceiptError, payload_of, proven_entry


@dataclass(frozen=True, slots=True)
class ProposedStatements:
    """The digests under which a month's statements stand in the log, as a verified receipt proves."""

    window: WindowId
    entry_index: EntryIndex
    """The entry that holds them."""
    digests: Mapping[MerchantId | None, bytes]
    """By merchant, None for the alliance's: the SHA-256 of the statement's JSON form."""
    receipt: Receipt
    """The proof, verified; worth keeping."""

    def require_same(self, merchant: MerchantId | None, statement_json: bytes) -> None:
        """Compare a statement's JSON form with the log. Raises ``ReceiptError`` unless it is the one recorded there."""
        whose = "the alliance's statement" if merchant is None else f"the statement of {merchant}"
        recorded = self.digests.get(merchant)
        if recorded is None:
            raise ReceiptError(f"entry {self.entry_index} of the log records no digest of {whose} for {self.window}")
        computed = sha256(statement_json).digest()
        if computed != recorded:
            raise ReceiptError(
                f"{whose} for {self.window} has the SHA-256 {computed.hex()}, and entry {self.entry_index} of the log "
                f"records {recorded.hex()}: it is not the statement that is settled. Keep the file, and have the "
                "alliance audited"
            )


def check_proposal(window: WindowId, receipt: Receipt, verifier: Verifier) -> ProposedStatements:
    """What the receipt proves of a window's proposal.

    Raises ``ReceiptError`` unless the alliance signed for an entry in which this window's settlement was proposed.
    """
    _, entry = proven_entry(receipt, verifier)
    instruction = payload_of(receipt, entry, PAYLOAD_TYPE, decode_instruction)
    proposal = instruction.action
    if (
        not isinstance(proposal, ProposeSettlement)
        or proposal.window != window
        or entry.instruction_result is None
        or entry.instruction_result.outcome is not Outcome.ACCEPTED
        or instruction.origin != verifier.name
    ):
        raise ReceiptError(f"the receipt is of entry {receipt.index}, which proposes no settlement of {window}")
    digests: dict[MerchantId | None, bytes] = {None: proposal.alliance_statement_digest}
    digests.update(proposal.statement_digests)
    return ProposedStatements(window, receipt.index, digests, receipt)
