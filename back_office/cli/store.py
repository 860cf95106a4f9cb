"""``clearing store``: open and list stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.console import print_json, print_table, progress_bar, say
from back_office.cli.instructing import Signing, carry_out
from back_office.cli.options import (
    AtOption,
    DraftOption,
    JsonOption,
    KeysOption,
    ReadKeyOption,
    ReferenceOption,
    StoresOption,
    settings_of,
)
from back_office.client.connection import GatewayConnection, reader
from back_office.client.merchants import list_members
from back_office.client.stores import merchants_of_stores, opening
from merchant_gateway.client.baskets.basket_file import read_baskets

app = typer.Typer(no_args_is_help=True, help="Open and list stores.")


@app.command("open")
def open_store(
    context: typer.Context,
    merchant: Annotated[str, typer.Argument(help="Whose store it is.")],
    store: Annotated[str, typer.Argument(help="Identifier, unique in the alliance: up to 32 of a-z, 0-9 and hyphens.")],
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a merchant's store."""
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json),
        opening(merchant, store),
        done=f"Store {store} of {merchant} is open.",
    )


@app.command("import")
def import_stores(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="BASKETS.csv[.gz]", help="The baskets whose stores are opened.")],
    stores: StoresOption = None,
    key: KeysOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open every store that a file of baskets names. Open ones stay as they are, so it can be run again."""
    with GatewayConnection(settings_of(context)) as connection:
        instructor = Signing(key, at=at).instructor(connection)
        constitution = connection.constitution
        baskets = read_baskets(file, currency_decimals=constitution.currency_decimals, calendar=connection.calendar)
        members = list_members(connection, instructor.reader)
        merchants = merchants_of_stores({basket.store for basket in baskets}, stores, members)
        open_already = {store for member in members for store in member.stores}
        to_open = [(store, merchants[store]) for store in sorted(merchants) if store not in open_already]
        with progress_bar() as progress:
            for store, merchant in progress.track(to_open, description="Opening stores"):
                instructor.require(opening(merchant, store))
    before = len(merchants) - len(to_open)
    if as_json:
        print_json({"opened": len(to_open), "open_before": before})
    else:
        say(f"{len(to_open):,} stores opened, {before:,} were open already.")


@app.command("list")
def list_stores(context: typer.Context, key: ReadKeyOption = None, as_json: JsonOption = False) -> None:
    """List all stores and whose they are."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        members = list_members(connection, reader(settings, key))
    rows = sorted((store, member.merchant) for member in members for store in member.stores)
    if as_json:
        print_json([{"store": store, "merchant": merchant} for store, merchant in rows])
    else:
        print_table(f"{len(rows):,} stores", ("store", "merchant"), rows)
