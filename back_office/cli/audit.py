"""``clearing audit``: export the log, verify an export offline, prove a single entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.audit_report import print_report, report_object
from back_office.cli.console import print_json, progress_bar, say
from back_office.cli.entry_text import print_entry
from back_office.cli.options import JsonOption, ReadKeyOption, settings_of
from back_office.client.connection import GatewayConnection, reader
from back_office.client.earlier import read_evidence
from back_office.client.log_copy import check_proof, export_log
from back_office.client.verifiers import verifier_of
from back_office.errors import BackOfficeError
from clearing.audit.folder_proof import prove_entry, prove_reference
from clearing.contract.entry import decode_entry
from settlement.auditing.audit import verify_export

app = typer.Typer(no_args_is_help=True, help="Export the log, verify it offline, prove single entries.")

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the export.")]
VerifierOption = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="VKEY",
        help="The alliance's verifier key, from your own records: the key itself, a file that holds it, or an "
        "alliance.json.",
    ),
]


@app.command()
def export(
    context: typer.Context, directory: FolderArgument, key: ReadKeyOption = None, as_json: JsonOption = False
) -> None:
    """Fetch the whole log and the proposed statements from the gateway, with an auditor's key.

    The folder is in the tlog-tiles form (C2SP): `checkpoint` and `tile/`. A later export into the same folder extends
    it.
    """
    settings = settings_of(context)
    with GatewayConnection(settings) as connection, progress_bar() as bar:
        task = bar.add_task("Exporting entries", total=None)
        exported = export_log(
            connection,
            reader(settings, key),
            directory,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(
            {
                "directory": str(directory),
                "entries": exported.checkpoint.size,
                "root": exported.checkpoint.root.hex(),
                "statement_files": exported.statement_files,
            }
        )
        return
    say(f"{exported.checkpoint.size:,} entries and {exported.statement_files:,} statements are in {directory}.")
    say(f"Next, anywhere and offline: clearing audit verify {directory} --key {connection.alliance.verifier.vkey}")


@app.command()
def verify(
    directory: FolderArgument,
    key: VerifierOption,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="What somebody kept of this log from before, which the export must have grown from: a checkpoint, a "
            "proof, a receipt, or a merchant's file of receipts; repeatable.",
        ),
    ] = None,
    without_statements: Annotated[
        bool, typer.Option("--without-statements", help="Check the log alone, where it came without statements.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check an export with nothing but its folder and the alliance's public key.

    The checkpoint's signature, every leaf against the root, every envelope's signature under the keys valid at that
    entry, every outcome against the rules, the books, each proposed settlement, and that its statements are there, all
    of them and no others. Exit code 1 on the first difference, which is named.
    """
    verifier = verifier_of(key)
    evidence = read_evidence(earlier, verifier) if earlier else None
    with progress_bar() as bar:
        task = bar.add_task("Verifying entries", total=None)
        report = verify_export(
            directory,
            verifier,
            lambda done, total: bar.update(task, completed=done, total=total),
            evidence=evidence,
            with_statements=not without_statements,
        )
    if as_json:
        print_json(report_object(report))
    else:
        print_report(report)


@app.command()
def prove(
    directory: FolderArgument,
    key: VerifierOption,
    entry: Annotated[int | None, typer.Option(min=0, help="Index of the entry.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Whose transaction, with --reference.")] = None,
    reference: Annotated[str | None, typer.Option(help="The merchant's reference of the transaction.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the two files.")] = Path(),
) -> None:
    """Take one entry out of an export, with the proof that it is in the log, for somebody who has neither.

    Writes `entry-N.bin`, the entry's bytes, and `entry-N.tlog-proof` (C2SP tlog-proof).
    """
    verifier = verifier_of(key)
    if entry is not None and reference is None and merchant is None:
        proven = prove_entry(directory, verifier, entry)
    elif entry is None and reference is not None and merchant is not None:
        proven = prove_reference(directory, verifier, merchant, reference)
    else:
        raise BackOfficeError("say which entry: --entry N, or --merchant M and --reference R")
    entry_file, proof_file = proven.write(output)
    print_entry(proven.index, decode_entry(proven.entry))
    say(f"The entry is in {entry_file}, its proof in {proof_file}.")
    say(f"Whoever has both checks them with: clearing audit check {proof_file} {entry_file} --key {verifier.vkey}")


@app.command()
def check(
    proof: Annotated[Path, typer.Argument(help="The proof file.")],
    entry: Annotated[Path, typer.Argument(help="The file with the entry's bytes.")],
    key: VerifierOption,
) -> None:
    """Check a proof that `clearing audit prove` made, and say what the entry holds."""
    verifier = verifier_of(key)
    proven = check_proof(proof, entry, verifier)
    print_entry(proven.index, proven.entry)
    size = proven.checkpoint.size
    say(f"Proved: entry {proven.index} of {verifier.name}, under its checkpoint of {size:,} entries.", "green")
