"""``clearing window pay``: record that payments of an approved settlement were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from back_office.cli.console import print_json, progress_bar, say
from back_office.cli.instructing import Signing, as_object, report
from back_office.cli.instructing import draft as write_draft
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
from back_office.client.instruction_receipt import Decided
from back_office.client.payments import find_payment, list_payments, record_all, recording, was_recorded_before
from back_office.errors import BackOfficeError


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
        instructor = Signing(key, draft, at, reference, as_json).instructor(connection)
        payments = list_payments(connection, instructor.reader, window)
        if every:
            with progress_bar() as progress:
                task = progress.add_task("Recording payments", total=len(payments))
                done = []
                for decided in record_all(instructor, window, payments, paid_on, bank_reference):
                    done.append(decided)
                    progress.advance(task)
            _report_all(window, done, as_json=as_json)
            return
        unsigned = recording(window, find_payment(payments, window, payer, payee), paid_on, bank_reference)
        if draft is not None:
            write_draft(instructor, draft, unsigned)
            return
        decided = instructor.instruct(unsigned)
    report(decided, f"The payment of {payer} to {payee} for {window} is recorded.", as_json=as_json)


def _report_all(window: str, done: Sequence[Decided], *, as_json: bool) -> None:
    if as_json:
        print_json([as_object(decided) for decided in done])
        return
    before = sum(map(was_recorded_before, done))
    now = len(done) - before
    say(f"All payments of {window} are recorded: {now:,} now, {before:,} before, which stay as they are.")
