"""``clearing window pay``: record that payments of an approved settlement were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from back_office.cli.console import print_json, progress_bar, say
from back_office.cli.instructing import Instructor, RefusedError, Signing, as_object, report
from back_office.cli.options import (
    AtOption,
    DraftOption,
    JsonOption,
    KeysOption,
    ReferenceOption,
    WindowArgument,
    settings_of,
)
from back_office.client.connection import GatewayConnection
from back_office.errors import BackOfficeError
from clearing.model import Outcome
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import Instruction, Payment, RecordPayment
from clearing.v1.settlement_pb2 import GetSettlementRequest


def pay(
    context: typer.Context,
    window: WindowArgument,
    paid_on: Annotated[str, typer.Option(metavar="DATE", help="Day on which the money moved, as YYYY-MM-DD.")],
    bank_reference: Annotated[
        str, typer.Option(help="The bank's reference: letters, digits and hyphens. With --all a number follows it.")
    ],
    payer: Annotated[str | None, typer.Argument(help="Who paid.")] = None,
    payee: Annotated[str | None, typer.Argument(help="Who was paid.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All payments of the window.")] = False,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a payment of an approved settlement was made, or with --all that each was."""
    if every and (payer or payee or draft is not None or reference is not None):
        raise BackOfficeError("--all goes without PAYER, PAYEE, --draft and --reference")
    if not every and not (payer and payee):
        raise BackOfficeError("name PAYER and PAYEE, or record all payments with --all")
    with GatewayConnection(settings_of(context)) as connection:
        instructor = Instructor(connection, Signing(key, draft, at, reference, as_json))
        payments = _payments(connection, instructor.keys[0], window)
        if every:
            _record_all(instructor, window, payments, paid_on, bank_reference, as_json=as_json)
            return
        for payment in payments:
            if (payment.payer, payment.payee) == (payer, payee):
                break
        else:
            raise BackOfficeError(f"{payer} pays {payee} nothing for {window}; see: clearing window show {window}")
        action = _recording(window, payment, paid_on, bank_reference)
        parts = _reference_parts(window, payment)
        if draft is not None:
            instructor.draft(draft, action, *parts)
            return
        decided = instructor.instruct(action, *parts)
    report(decided, f"The payment of {payer} to {payee} for {window} is recorded.", as_json=as_json)


def _payments(connection: GatewayConnection, key: PrivateKey, window: str) -> Sequence[Payment]:
    request = GetSettlementRequest(window=window)
    return connection.call(connection.settlement.GetSettlement, request, key).proposal.payments


def _record_all(
    instructor: Instructor,
    window: str,
    payments: Sequence[Payment],
    paid_on: str,
    bank_reference: str,
    *,
    as_json: bool,
) -> None:
    """Record each payment that is not recorded yet."""
    done = []
    with progress_bar() as progress:
        for number, payment in enumerate(progress.track(payments, description="Recording payments"), start=1):
            action = _recording(window, payment, paid_on, f"{bank_reference}-{number}")
            decided = instructor.instruct(action, *_reference_parts(window, payment))
            if decided.outcome not in (Outcome.ACCEPTED, Outcome.PAYMENT_ALREADY_RECORDED):
                raise RefusedError(decided)
            done.append(decided)
    if as_json:
        print_json([as_object(decided) for decided in done])
    else:
        before = sum(each.replayed or each.outcome is Outcome.PAYMENT_ALREADY_RECORDED for each in done)
        now = len(done) - before
        say(f"All payments of {window} are recorded: {now:,} now, {before:,} before, which stay as they are.")


def _recording(window: str, payment: Payment, paid_on: str, bank_reference: str) -> Instruction:
    recording = RecordPayment(window=window, payment=payment, paid_on=paid_on, bank_reference=bank_reference)
    return Instruction(record_payment=recording)


def _reference_parts(window: str, payment: Payment) -> tuple[str, ...]:
    return ("pay", window, payment.payer, payment.payee)
