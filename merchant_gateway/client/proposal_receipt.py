"""What a merchant checks its statement and payments against: the log's entry that proposes the month's settlement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from clearing.contract.instruction import PAYLOAD_TYPE, decode_instruction
from clearing.contract.receipt import Receipt
from clearing.log.merkle import ProofError, leaf_hash, root, verify_inclusion
from clearing.log.note import Verifier
from clearing.log.settlement_trees import payment_leaf, payment_salt, statement_leaf
from clearing.model import EntryIndex, MerchantId, Outcome, ProposeSettlement, WindowId
from clearing.v1 import settlement_pb2
from merchant_gateway.client.receipt_check import ReceiptError, payload_of, proven_entry


@dataclass(frozen=True, slots=True)
class ProposedSettlement:
    """A month's settlement as it stands in the log, as a verified receipt proves."""

    proposal: ProposeSettlement
    """The roots over all statements and payments."""
    entry_index: EntryIndex
    """The entry that holds it."""
    receipt: Receipt
    """The proof, verified; worth keeping."""

    def require_alliance_statement(self, statement_json: bytes) -> None:
        """Raise ``ReceiptError`` unless this is the alliance's statement, in JSON, whose digest the log records."""
        computed, recorded = sha256(statement_json).digest(), self.proposal.alliance_statement_digest
        if computed != recorded:
            raise self._difference("the alliance's statement", f"records {recorded.hex()}", computed)

    def require_statement(
        self, merchant: MerchantId, statement_json: bytes, proven: settlement_pb2.GetPaymentsResponse
    ) -> None:
        """Compare a merchant's statement and payments with the log; ``proven`` is what ``GetPayments`` gave for them.

        The statement must be the one under the proposal's root, and the payments exactly those that it names, each
        under the proposal's other root. Raises ``ReceiptError`` otherwise.
        """
        whose = f"the statement of {merchant}"
        computed = sha256(statement_json).digest()
        proof = next((each for each in proven.statements if each.merchant == merchant), None)
        if proof is None:
            raise ReceiptError(f"the gateway proves nothing of {whose} for {self.proposal.window}")
        leaf = leaf_hash(statement_leaf(merchant, computed))
        try:
            verify_inclusion(leaf, proof.index, self.proposal.statements, proof.path, self.proposal.statements_root)
        except ProofError as error:
            raise self._difference(whose, f"does not record it ({error})", computed) from None
        if _payments_of(statement_json) != {_plain(each) for each in proven.payments}:
            raise ReceiptError(f"the payments that the gateway proves are not those in {whose}")
        for each in proven.payments:
            self._require_payment(each)
            if each.payment.payer == merchant and each.salt != payment_salt(computed, each.index):
                raise ReceiptError(
                    f"the payment to {each.payment.payee} is not bound to {whose}: its salt is another's"
                )

    def _require_payment(self, proven: settlement_pb2.ProvenPayment) -> None:
        try:
            verify_inclusion(
                _payment_hash(proven), proven.index, self.proposal.payments, proven.path, self.proposal.payments_root
            )
        except ProofError as error:
            raise ReceiptError(
                f"the payment of {proven.payment.payer} to {proven.payment.payee} is not one that entry "
                f"{self.entry_index} of the log records: {error}"
            ) from None

    def _difference(self, whose: str, recorded: str, computed: bytes) -> ReceiptError:
        return ReceiptError(
            f"{whose} for {self.proposal.window} has the SHA-256 {computed.hex()}, and entry {self.entry_index} of the "
            f"log {recorded}: it is not the statement that is settled. Keep the file, and have the alliance audited"
        )


def require_all_payments(proposal: ProposeSettlement, proven: Sequence[settlement_pb2.ProvenPayment]) -> None:
    """Raise ``ReceiptError`` unless these are all payments of the proposal, in order."""
    if (
        len(proven) != proposal.payments
        or root([_payment_hash(each) for each in proven]) != proposal.payments_root
        or sum(each.payment.amount_minor for each in proven) != proposal.payments_minor
    ):
        raise ReceiptError(
            f"the payments that the gateway gives are not those that the proposal of {proposal.window} has"
        )


def _payment_hash(proven: settlement_pb2.ProvenPayment) -> bytes:
    payment = proven.payment
    if not payment.amount_minor >= 1:
        raise ReceiptError(
            f"the payment of {payment.payer} to {payment.payee} is of {payment.amount_minor} minor units"
        )
    return leaf_hash(payment_leaf(payment.payer, payment.payee, payment.amount_minor, proven.salt))


def _plain(proven: settlement_pb2.ProvenPayment) -> tuple[str, str, int]:
    return proven.payment.payer, proven.payment.payee, proven.payment.amount_minor


def _payments_of(statement_json: bytes) -> set[tuple[str, str, int]]:
    try:
        payments = json.loads(statement_json)["payments"]
        return {(each["payer"], each["payee"], each["amount_minor"]) for each in payments}
    except (ValueError, KeyError, TypeError):
        raise ReceiptError("the statement names no payments; is it of another version?") from None


def check_proposal(window: WindowId, receipt: Receipt, verifier: Verifier) -> ProposedSettlement:
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
    return ProposedSettlement(proposal, receipt.index, receipt)
