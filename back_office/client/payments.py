"""Payments of an approved settlement: which there are, and recording that they were made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Instructor, RefusedError, Unsigned
from back_office.client.instruction_receipt import Decided
from back_office.client.settlements import computed_settlement
from back_office.errors import BackOfficeError
from clearing.contract.instruction import decode_proposal
from clearing.model import Outcome
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import Instruction, ProposeSettlement, RecordPayment
from clearing.v1.settlement_pb2 import GetPaymentsRequest, GetPaymentsResponse, ProvenPayment
from merchant_gateway.client.proposal_receipt import require_all_payments


def payments_proven(
    connection: GatewayConnection, key: PrivateKey, window: str, merchant: str | None = None
) -> GetPaymentsResponse:
    """A closed window's payments and statements' digests with their proofs: a merchant's, or all one may see.

    Raises ``GatewayError``.
    """
    request = GetPaymentsRequest(window=window, merchant=merchant or "")
    return connection.call(connection.settlement.GetPayments, request, key)


def all_payments(
    connection: GatewayConnection, key: PrivateKey, settlement: ProposeSettlement
) -> Sequence[ProvenPayment]:
    """All payments of this settlement. Raises ``ReceiptError`` where the gateway gives others, and ``GatewayError``."""
    payments = payments_proven(connection, key, settlement.window).payments
    require_all_payments(decode_proposal(settlement), payments)
    return payments


def list_payments(connection: GatewayConnection, key: PrivateKey, window: str) -> Sequence[ProvenPayment]:
    """The payments that settle a closed window. Raises what ``all_payments`` raises."""
    return all_payments(connection, key, computed_settlement(connection, key, window))


def find_payment(payments: Iterable[ProvenPayment], window: str, payer: str | None, payee: str | None) -> ProvenPayment:
    """The payment between the two. Raises ``BackOfficeError``."""
    for payment in payments:
        if (payment.payment.payer, payment.payment.payee) == (payer, payee):
            return payment
    raise BackOfficeError(f"{payer} pays {payee} nothing for {window}; see: clearing window show {window}")


def recorded_payment(window: str, proven: ProvenPayment, paid_on: str, bank_reference: str) -> RecordPayment:
    """The action that records a payment, with the proof that it is one of the settlement's."""
    return RecordPayment(
        window=window,
        payment=proven.payment,
        paid_on=paid_on,
        bank_reference=bank_reference,
        index=proven.index,
        salt=proven.salt,
        path=proven.path,
    )


def recording(window: str, proven: ProvenPayment, paid_on: str, bank_reference: str) -> Unsigned:
    """Record that a payment was made on a day (YYYY-MM-DD), under the bank's reference."""
    action = recorded_payment(window, proven, paid_on, bank_reference)
    return Unsigned(Instruction(record_payment=action), ("pay", window, proven.payment.payer, proven.payment.payee))


def record_all(
    instructor: Instructor, window: str, payments: Iterable[ProvenPayment], paid_on: str, bank_reference: str
) -> Iterator[Decided]:
    """Record each payment that is not recorded yet, one at each step; a number follows the bank's reference.

    Raises ``RefusedError`` where one is refused for another reason than that it is recorded already.
    """
    for number, payment in enumerate(payments, start=1):
        decided = instructor.instruct(recording(window, payment, paid_on, f"{bank_reference}-{number}"))
        if decided.outcome not in (Outcome.ACCEPTED, Outcome.PAYMENT_ALREADY_RECORDED):
            raise RefusedError(decided)
        yield decided


def was_recorded_before(decided: Decided) -> bool:
    """Whether the payment had been recorded by an earlier instruction, or by this one an earlier time."""
    return decided.replayed or decided.outcome is Outcome.PAYMENT_ALREADY_RECORDED
