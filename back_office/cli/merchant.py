"""``clearing merchant``: admit and list members."""

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
    settings_of,
)
from back_office.client.connection import GatewayConnection, reader
from back_office.client.merchants import admission, list_members
from merchant_gateway.client.baskets.csv_file import CsvFileError, Fault, read_rows

app = typer.Typer(no_args_is_help=True, help="Admit and list merchants.")


@app.command()
def admit(
    context: typer.Context,
    merchant: Annotated[str, typer.Argument(help="Identifier: up to 32 of a-z, 0-9 and hyphens.")],
    name: Annotated[str, typer.Option("--name", help="Name of the legal entity that settles.")],
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a merchant a member of the alliance."""
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json),
        admission(merchant, name),
        done=f"{merchant} is a member.",
    )


@app.command("import")
def import_merchants(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV with the header merchant,legal_name.")],
    key: KeysOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Admit every merchant of a file. Those admitted before stay as they are, so it can be run again."""
    rows = _read_merchants(file)
    admitted = 0
    with GatewayConnection(settings_of(context)) as connection, progress_bar() as progress:
        instructor = Signing(key, at=at).instructor(connection)
        for merchant, legal_name in progress.track(rows, description="Admitting merchants"):
            admitted += not instructor.require(admission(merchant, legal_name)).replayed
    if as_json:
        print_json({"admitted": admitted, "admitted_before": len(rows) - admitted})
    else:
        say(f"{admitted:,} merchants admitted, {len(rows) - admitted:,} were members already.")


@app.command("list")
def list_merchants(context: typer.Context, key: ReadKeyOption = None, as_json: JsonOption = False) -> None:
    """List all merchants with the number of their stores."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        merchants = list_members(connection, reader(settings, key))
    if as_json:
        print_json(
            [
                {"merchant": each.merchant, "legal_name": each.legal_name, "stores": list(each.stores)}
                for each in merchants
            ]
        )
        return
    rows = [(each.merchant, each.legal_name, f"{len(each.stores):,}") for each in merchants]
    print_table(f"{len(rows):,} merchants", ("merchant", "legal name", "stores"), rows, numbers=("stores",))


def _read_merchants(path: Path) -> list[tuple[str, str]]:
    """Merchant and legal name of every line; each is checked as it is instructed. Raises ``CsvFileError``."""
    faults: list[Fault] = []
    rows = [(fields[0], fields[1]) for _, fields in read_rows(path, ("merchant", "legal_name"), faults)]
    if faults:
        raise CsvFileError(path, faults)
    return rows
