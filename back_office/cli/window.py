"""``clearing window``: from the end of a month to its last payment."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from back_office.cli.console import output, print_json, print_table, require_consent, say
from back_office.cli.instructing import Instructor, RefusedError, Signing, as_object, carry_out, report
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
from back_office.cli.statement import statement_json
from back_office.cli.statement_tables import (
    obligations_table,
    payments_listed,
    payments_table,
    points_table,
    positions_table,
)
from back_office.client.connection import GatewayConnection, reader
from back_office.client.instruction_receipt import Decided
from back_office.client.windows import (
    closing_time,
    find_window,
    list_all,
    statement_differs,
    status_name,
    window_object,
)
from back_office.errors import BackOfficeError
from clearing.contract.decoding import content_digest
from clearing.model import Outcome
from clearing.rules.directory import WindowStatus
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import ApproveSettlement, CloseWindow, Instruction, ProposeSettlement
from clearing.v1.settlement_pb2 import GetSettlementRequest

app = typer.Typer(no_args_is_help=True, help="Close, settle and look at windows.")
app.command()(pay)


@app.command("list")
def list_windows(context: typer.Context, key: ReadKeyOption = None, as_json: JsonOption = False) -> None:
    """List all windows and how far their settlement has come."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        windows = list_all(connection, reader(settings, key))
    if as_json:
        print_json([window_object(each) for each in windows])
        return
    rows = [
        (
            each.window,
            status_name(each),
            f"{each.range.first_index:,}",
            f"{each.range.end_index - each.range.first_index:,}",
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
    action = Instruction(close_window=CloseWindow(window=window))
    done: list[tuple[Decided, str]] = []
    with GatewayConnection(settings_of(context)) as connection:
        instructor = Instructor(connection, signing)
        not_before = closing_time(connection, window)
        if draft is not None:
            instructor.draft(draft, action, "close", window, not_before=not_before)
            return
        status = WindowStatus(find_window(connection, instructor.keys[0], window).status)
        if status is WindowStatus.OPEN:
            decided = instructor.instruct(action, "close", window, not_before=not_before)
            done.append((decided, f"Window {window} is closed."))
        if status <= WindowStatus.CLOSED and all(each.outcome is Outcome.ACCEPTED for each, _ in done):
            done.append((_propose(connection, signing, window), f"The settlement of {window} is proposed."))
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
    """Log what a closed window settles to: its statements' digests and its payments."""
    signing = Signing(key, draft, at, reference, as_json)
    with GatewayConnection(settings_of(context)) as connection:
        if draft is not None:
            action, parts = _proposal(connection, signing, window)
            Instructor(connection, signing).draft(draft, action, *parts)
            return
        decided = _propose(connection, signing, window)
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
        if WindowStatus(found.status) is not WindowStatus.OPEN:
            shown = json.loads(statement_json(connection, read_key, window))
    if as_json:
        print_json({**window_object(found), "statement": shown})
        return
    entries = found.range.end_index - found.range.first_index
    say(f"Window {window}: {status_name(found)}, {entries:,} entries from {found.range.first_index:,} on.", "bold")
    if shown is None:
        say(f"It is not settled yet. Once the month is over: clearing window close {window}")
        return
    for table in (points_table, obligations_table, positions_table, payments_table):
        output.print(table(shown))
    if found.alliance_statement_digest:
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
        read_key = Instructor(connection, signing).keys[0]
        proposed = find_window(connection, read_key, window).alliance_statement_digest
        if not proposed:
            raise BackOfficeError(f"no settlement of {window} is proposed yet; first: clearing window close {window}")
        proposal = _settlement(connection, read_key, window)
        computed = proposal.alliance_statement_digest
        if computed != proposed:
            raise statement_differs(window, proposed.hex(), computed.hex())
        if digest is not None and digest.lower() != proposed.hex():
            raise statement_differs(window, proposed.hex(), digest.lower())
        constitution = connection.constitution
    if not as_json:
        payments = [(each.payer, each.payee, each.amount_minor) for each in proposal.payments]
        say(f"Proposed for {window}:", "bold")
        output.print(payments_listed(payments, constitution.currency, constitution.currency_decimals))
        say(f"SHA-256 of the alliance's statement: {proposed.hex()}")
    require_consent(f"Approve the settlement of {window}?", yes=yes)
    carry_out(
        context,
        signing,
        Instruction(approve_settlement=ApproveSettlement(proposal=proposal)),
        "approve",
        window,
        content_digest(proposal).hex()[:12],
        done=f"The settlement of {window} is approved.",
    )


def _proposal(connection: GatewayConnection, signing: Signing, window: str) -> tuple[Instruction, tuple[str, ...]]:
    """The proposal's instruction, and what its reference is made of."""
    proposal = _settlement(connection, Instructor(connection, signing).keys[0], window)
    parts = ("propose", window, content_digest(proposal).hex()[:12])
    return Instruction(propose_settlement=proposal), parts


def _settlement(connection: GatewayConnection, key: PrivateKey, window: str) -> ProposeSettlement:
    """What the window settles to, as the gateway computes it."""
    return connection.call(connection.settlement.GetSettlement, GetSettlementRequest(window=window), key).proposal


def _propose(connection: GatewayConnection, signing: Signing, window: str) -> Decided:
    action, parts = _proposal(connection, signing, window)
    return Instructor(connection, signing).instruct(action, *parts)
