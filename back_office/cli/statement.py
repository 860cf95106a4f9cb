"""``clearing statement``: download a closed window's statements, and compare their digest with the log."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.console import print_json, say
from back_office.cli.options import JsonOption, ReadKeyOption, WindowArgument, settings_of
from back_office.client.connection import GatewayConnection, reader
from back_office.client.payments import payments_proven
from back_office.client.statements import download_statement, owner_of, proposed_entry, write_statement
from clearing.audit.folder_proof import ProvenEntry


def statement(
    context: typer.Context,
    window: WindowArgument,
    merchant: Annotated[
        str | None, typer.Option(help="Whose. Without it: the alliance's, or a merchant's own.")
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that receives them, in a folder named for the window.")
    ] = Path("statements"),
    key: ReadKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download a closed window's statement as JSON, CSV and Excel workbook.

    Once the settlement is proposed, its digest is compared with the one in the log, which the alliance's key proves.
    Exit code 1 if they differ.
    """
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        read_key = reader(settings, key)
        files = download_statement(connection, read_key, window, merchant)
        proposed = proposed_entry(connection, read_key, window)
        owner = owner_of(files[0][1], merchant)
        proven = payments_proven(connection, read_key, window, owner) if owner is not None else None
    folder = output / window
    written = [(write_statement(folder, name, content), sha256(content).hexdigest()) for name, content in files]
    json_path, json_content = written[0][0], files[0][1]
    proof: Path | None = None
    if proposed is not None:
        proof = ProvenEntry.of_receipt(proposed.receipt).write(folder)[1]
        # Only once the files are written: one that differs is evidence.
        if owner is None or proven is None:
            proposed.require_alliance_statement(json_content)
        else:
            proposed.require_statement(owner, json_content, proven)
    if as_json:
        print_json(
            [
                {
                    "file": str(path),
                    "sha256": digest,
                    "recorded_in_entry": proposed.entry_index if proposed is not None and path == json_path else None,
                }
                for path, digest in written
            ]
        )
        return
    for path, digest in written:
        say(f"{path}  SHA-256 {digest}")
    if proposed is None:
        say(
            f"The settlement of {window} is not proposed yet, so the log records no digest to compare with; "
            "this command compares it once it is.",
            "yellow",
        )
    else:
        say(f"{json_path.name}: digest as recorded in entry {proposed.entry_index} of the log, verified.", "green")
        if proven is not None:
            say(f"The payments in it ({len(proven.payments)}) are proven to be among those that settle the window.")
        say("The log records the JSON form; CSV and workbook are the same statement for reading.")
        say(f"The entry's proof is kept in {proof}: an audit can be held to it (--earlier).")
