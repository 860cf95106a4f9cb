"""``clearing terms``: set and list prices."""

from __future__ import annotations

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
from clearing.contract.decoding import content_digest
from clearing.v1.instruction_pb2 import Instruction, SetTerms
from clearing.v1.operations_pb2 import ListTermsRequest

app = typer.Typer(no_args_is_help=True, help="Set and list prices.")


@app.command("set")
def set_terms(
    context: typer.Context,
    effective_from: Annotated[str, typer.Option("--from", metavar="DATE", help="First day, as YYYY-MM-DD.")],
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
    """Set prices from a day on: of the alliance, of a merchant, or of a pair."""
    terms = SetTerms(
        merchant=merchant or "",
        counterparty=counterparty or "",
        effective_from=effective_from,
        issuance_price=issuance_price or "",
        redemption_price=redemption_price,
    )
    scope = "-".join(part for part in (merchant, counterparty) if part) or "alliance"
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json),
        Instruction(set_terms=terms),
        "terms",
        effective_from,
        content_digest(terms).hex()[:12],
        scope,
        done=f"Prices of {scope} are set from {effective_from} on.",
    )


@app.command("list")
def list_terms(context: typer.Context, key: ReadKeyOption = None, as_json: JsonOption = False) -> None:
    """List all prices by whose they are and their dates; the alliance's founding prices stand first."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        founding = connection.constitution
        dated = connection.call(connection.operations.ListTerms, ListTermsRequest(), reader(settings, key)).terms
    columns = ("merchant", "counterparty", "effective_from", "issuance_price", "redemption_price")
    first = ("", "", "", founding.issuance_price, founding.redemption_price)
    rows = [
        first,
        *(
            (each.merchant, each.counterparty, each.effective_from, each.issuance_price, each.redemption_price)
            for each in dated
        ),
    ]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    shown = [(row[0] or "(the alliance)", row[1], row[2] or "the founding", row[3], row[4]) for row in rows]
    print_table("Prices a point", columns, shown, numbers=columns[3:])
