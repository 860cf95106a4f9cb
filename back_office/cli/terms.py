"""``clearing terms``: set and list prices."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from back_office.cli.console import print_json, print_table
from back_office.cli.instructing import Signing, carry_out
from back_office.cli.options import (
    AtOption,
    DraftOption,
    JsonOption,
    KeysOption,
    ReadKeyOption,
    ReferenceOption,
    settings_of,
)
from back_office.client.connection import GatewayConnection, reader
from back_office.client.terms import Terms, scope_of, setting
from back_office.client.terms import list_terms as dated_terms

app = typer.Typer(no_args_is_help=True, help="Set and list prices.")


@app.command("set")
def set_terms(
    context: typer.Context,
    effective_from: Annotated[
        str, typer.Option("--from", metavar="DATE", help="First day of a later month, as YYYY-MM-DD.")
    ],
    redemption_price: Annotated[str, typer.Option(help="What a redeemer gets for a point, such as 0.0090.")],
    issuance_price: Annotated[
        str | None, typer.Option(help="What an issuer pays for a point it issues. Not for a pair.")
    ] = None,
    merchant: Annotated[
        str | None, typer.Option(help="Whose prices. Without it: the alliance's. With --counterparty: the issuer.")
    ] = None,
    counterparty: Annotated[str | None, typer.Option(help="The redeemer with whom a price is agreed.")] = None,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set prices for points issued from a month on: of the alliance, of a merchant, or of a pair."""
    terms = Terms(merchant or "", counterparty or "", effective_from, issuance_price or "", redemption_price)
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json),
        setting(terms),
        done=f"Prices of {scope_of(terms)} are set for points issued from {effective_from} on.",
    )


@app.command("list")
def list_terms(context: typer.Context, key: ReadKeyOption = None, as_json: JsonOption = False) -> None:
    """List all prices by whose they are and their dates; the alliance's founding prices stand first."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        listed = dated_terms(connection, reader(settings, key))
    if as_json:
        print_json([dataclasses.asdict(each) for each in listed])
        return
    shown = [
        (
            each.merchant or "(the alliance)",
            each.counterparty,
            each.effective_from or "the founding",
            each.issuance_price,
            each.redemption_price,
        )
        for each in listed
    ]
    columns = [field.name for field in dataclasses.fields(Terms)]
    print_table("Prices a point", columns, shown, numbers=columns[3:])
