"""Payments of an approved settlement: which there are, and recording that they were made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Instructor, RefusedError, Unsigned
from back_office.client.instruction_receipt import Decided
from back_office.client.settlements import computed_settlement
from back_office.errors import BackOfficeError
from clearing.model import Outcome
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import Instruction, Payment, RecordPayment


def list_payments(connection: GatewayConnection, key: PrivateKey, window: str) -> Sequence[Payment]:
    """The payments that settle a closed window. Raises ``GatewayError``."""
    return computed_settlement(connection, key, window).payments


def find_payment(payments: Iterable[Payment], window: str, payer: str | None, payee: str | None) -> Payment:
    """The payment between the two. Raises ``BackOfficeError``."""
    for payment in payments:
        if (payment.payer, payment.payee) == (payer, payee):
            return payment
    raise BackOfficeError(f"{payer} pays {payee} nothing for {window}; see: clearing window show {window}")


def recording(window: str, payment: Payment, paid_on: str, bank_reference: str) -> Unsigned:
    """Record that a payment was made on a day (YYYY-MM-DD), under the bank's reference."""
    action = RecordPayment(window=window, payment=payment, paid_on=paid_on, bank_reference=bank_reference)
    return Unsigned(Instruction(record_payment=action), ("pay", window, payment.payer, payment.payee))


def record_all(
    instructor: Instructor, window: str, payments: Iterable[Payment], paid_on: str, bank_reference: str
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
