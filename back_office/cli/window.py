"""``clearing window``: from the end of a month to its last payment."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from back_office.cli.console import output, print_json, print_table, require_consent, say
from back_office.cli.instructing import Signing, as_object, carry_out, report
from back_office.cli.instructing import draft as write_draft
from back_office.cli.options import (
    AtOption,
    DraftOption,
    JsonOption,
    KeysOption,
    ReadKeyOption,
    ReferenceOption,
    WindowArgument,
    YesOption,
    settings_of,
)
from back_office.cli.payments import pay
from back_office.cli.statement_tables import (
    obligations_table,
    payments_listed,
    payments_table,
    points_table,
    positions_table,
)
from back_office.client.connection import GatewayConnection, reader
from back_office.client.instructing import RefusedError
from back_office.client.instruction_receipt import Decided
from back_office.client.payments import all_payments
from back_office.client.settlements import approving, computed_settlement, proposed_settlement, proposing
from back_office.client.statements import statement_json
from back_office.client.windows import Window, closing, find_window
from back_office.client.windows import list_windows as all_windows
from clearing.model import Outcome
from clearing.rules.directory import WindowStatus

app = typer.Typer(no_args_is_help=True, help="Close, settle and look at windows.")
app.command()(pay)


@app.command("list")
def list_windows(context: typer.Context, key: ReadKeyOption = None, as_json: JsonOption = False) -> None:
    """List all windows and how far their settlement has come."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        windows = all_windows(connection, reader(settings, key))
    if as_json:
        print_json([window_object(each) for each in windows])
        return
    rows = [
        (
            each.window,
            each.status_name,
            f"{each.first_index:,}",
            f"{each.entries:,}",
            f"{each.payments_recorded} of {each.payments_proposed}" if each.alliance_statement_digest else "",
        )
        for each in windows
    ]
    columns = ("window", "status", "first entry", "entries", "payments recorded")
    print_table(f"{len(rows)} windows", columns, rows, numbers=columns[2:])


@app.command()
def close(
    context: typer.Context,
    window: WindowArgument,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a month that is over, and propose its settlement. Run again, it goes on where it was.

    With --draft only the closing is signed; `clearing window propose` follows once it is instructed.
    """
    signing = Signing(key, draft, at, reference, as_json)
    done: list[tuple[Decided, str]] = []
    with GatewayConnection(settings_of(context)) as connection:
        instructor = signing.instructor(connection)
        unsigned = closing(connection, window)
        if draft is not None:
            write_draft(instructor, draft, unsigned)
            return
        status = find_window(connection, instructor.reader, window).status
        if status is WindowStatus.OPEN:
            done.append((instructor.instruct(unsigned), f"Window {window} is closed."))
        if status <= WindowStatus.CLOSED and all(each.outcome is Outcome.ACCEPTED for each, _ in done):
            settlement = computed_settlement(connection, instructor.reader, window)
            done.append((instructor.instruct(proposing(settlement)), f"The settlement of {window} is proposed."))
    if as_json:
        print_json([as_object(decided) for decided, _ in done])
    for decided, text in done:
        if decided.outcome is not Outcome.ACCEPTED:
            raise RefusedError(decided)
        if not as_json:
            report(decided, text, as_json=False)
    if not done and not as_json:
        say(f"The settlement of {window} is {status.name.lower()} already; nothing is left to close.")


@app.command()
def propose(
    context: typer.Context,
    window: WindowArgument,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log what a closed window settles to: the roots of its statements and its payments."""
    signing = Signing(key, draft, at, reference, as_json)
    with GatewayConnection(settings_of(context)) as connection:
        instructor = signing.instructor(connection)
        unsigned = proposing(computed_settlement(connection, instructor.reader, window))
        if draft is not None:
            write_draft(instructor, draft, unsigned)
            return
        decided = instructor.instruct(unsigned)
    report(decided, f"The settlement of {window} is proposed.", as_json=as_json)


@app.command()
def show(
    context: typer.Context, window: WindowArgument, key: ReadKeyOption = None, as_json: JsonOption = False
) -> None:
    """Show who owes whom in a window, the net positions, and the payments; a merchant sees its own."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        read_key = reader(settings, key)
        found = find_window(connection, read_key, window)
        shown: dict[str, Any] | None = None
        if found.status is not WindowStatus.OPEN:
            shown = json.loads(statement_json(connection, read_key, window))
    if as_json:
        print_json({**window_object(found), "statement": shown})
        return
    say(f"Window {window}: {found.status_name}, {found.entries:,} entries from {found.first_index:,} on.", "bold")
    if shown is None:
        say(f"It is not settled yet. Once the month is over: clearing window close {window}")
        return
    for table in (points_table, obligations_table, positions_table, payments_table):
        output.print(table(shown))
    if found.alliance_statement_digest is not None:
        say(f"Payments recorded: {found.payments_recorded} of {found.payments_proposed}.")
        say(f"SHA-256 of the alliance's statement, as proposed: {found.alliance_statement_digest.hex()}")


@app.command()
def approve(
    context: typer.Context,
    window: WindowArgument,
    digest: Annotated[
        str | None, typer.Option(help="SHA-256 of the alliance's statement you have read; another one is not approved.")
    ] = None,
    key: KeysOption = None,
    yes: YesOption = False,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the payments that are proposed for a window's settlement, ask, and agree to them."""
    signing = Signing(key, draft, at, reference, as_json)
    with GatewayConnection(settings_of(context)) as connection:
        read_key = signing.instructor(connection).reader
        settlement = proposed_settlement(connection, read_key, window, digest)
        proven = all_payments(connection, read_key, settlement)
        constitution = connection.constitution
    if not as_json:
        payments = [(each.payment.payer, each.payment.payee, each.payment.amount_minor) for each in proven]
        say(f"Proposed for {window}:", "bold")
        output.print(payments_listed(payments, constitution.currency, constitution.currency_decimals))
        say(f"SHA-256 of the alliance's statement: {settlement.alliance_statement_digest.hex()}")
    require_consent(f"Approve the settlement of {window}?", yes=yes)
    carry_out(
        context,
        signing,
        approving(settlement),
        done=f"The settlement of {window} is approved.",
    )


def window_object(window: Window) -> dict[str, Any]:
    """A window for programs."""
    digest = window.alliance_statement_digest
    return {
        "window": window.window,
        "status": window.status_name,
        "first_index": window.first_index,
        "end_index": window.end_index,
        "payments_proposed": window.payments_proposed,
        "payments_recorded": window.payments_recorded,
        "alliance_statement_sha256": digest.hex() if digest is not None else None,
    }
