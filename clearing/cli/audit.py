"""``clearing audit``: export the log, verify an export offline, prove a single entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clearing.cli.connection import GatewayConnection, reader
from clearing.cli.console import print_json, print_table, progress_bar, say
from clearing.cli.entry_text import print_entry
from clearing.cli.home import read_alliance
from clearing.cli.options import JsonOption, ReadKeyOption, settings_of
from clearing.contract.entry import decode_entry
from clearing.errors import ClearingError
from clearing.folder_proof import prove_entry, prove_reference
from clearing.log.note import NoteError, Verifier, parse_verifier
from clearing.log.proof import verify_proof
from clearing.model import Outcome
from merchant_gateway.log_export import LogExporter
from settlement.audit import AuditReport, verify_export

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


class ProofRequestError(ClearingError):
    """It is not said which entry is to be proved."""


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
        exporter = LogExporter(connection, connection.alliance.verifier, reader(settings, key))
        exported = exporter.export(directory, lambda done, total: bar.update(task, completed=done, total=total))
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
def verify(directory: FolderArgument, key: VerifierOption, as_json: JsonOption = False) -> None:
    """Check an export with nothing but its folder and the alliance's public key.

    The checkpoint's signature, every leaf against the root, every envelope's signature under the keys valid at that
    entry, every outcome against the rules, the books, each proposed settlement, and the statements that came with it.
    Exit code 1 on the first difference, which is named.
    """
    verifier = verifier_of(key)
    with progress_bar() as bar:
        task = bar.add_task("Verifying entries", total=None)
        report = verify_export(directory, verifier, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        print_json(_as_object(report))
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
        raise ProofRequestError("say which entry: --entry N, or --merchant M and --reference R")
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
    try:
        proof_text, leaf = proof.read_text(encoding="utf-8"), entry.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise ProofRequestError(f"cannot read the proof or the entry: {error}") from None
    checkpoint = verify_proof(proof_text, leaf, verifier)
    index = int(next(line for line in proof_text.splitlines() if line.startswith("index ")).removeprefix("index "))
    print_entry(index, decode_entry(leaf))
    say(f"Proved: entry {index} of {verifier.name}, under its checkpoint of {checkpoint.size:,} entries.", "green")


def verifier_of(key: str) -> Verifier:
    """The verifier that is typed, or that a file of this name holds. Raises ``NoteError`` or ``HomeError``."""
    path = Path(key)
    if not path.is_file():
        return parse_verifier(key)
    if path.suffix == ".json":
        return read_alliance(path).verifier
    try:
        return parse_verifier(path.read_text(encoding="utf-8").strip())
    except NoteError as error:
        raise ProofRequestError(f"--key: {path} holds no verifier key: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProofRequestError(f"--key: cannot read {path}: {error}") from None


def print_report(report: AuditReport) -> None:
    """What was checked, as tables for people."""
    rows = [
        (kind, outcome.name.lower(), f"{count:,}")
        for (kind, outcome), count in sorted(report.outcomes.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    print_table(
        "Outcomes, each decided again by the rules",
        ("kind", "outcome", "entries or transactions"),
        rows,
        ("entries or transactions",),
    )
    print_table(
        "Verified",
        ("what", "count"),
        [
            ("entries under the checkpoint's root", f"{report.entries:,}"),
            ("signatures", f"{report.signatures:,}"),
            ("cards", f"{report.cards:,}"),
            ("points on cards", f"{report.points_outstanding:,}"),
            ("windows closed", f"{len(report.windows_closed):,}"),
            ("settlements computed again", f"{len(report.windows_proposed):,}"),
            ("statement digests compared", f"{report.statement_digests:,}"),
            ("statement files compared", f"{report.statement_files:,}"),
        ],
        ("count",),
    )
    for difference in report.replaced_proposals:
        say(f"Corrected before it was approved: {difference}", "yellow")
    for key_id, indexes in report.to_review.items():
        say(
            f"To review: key {key_id} may have been somebody else's when it signed {len(indexes):,} entries"
            + (f", from entry {indexes[0]:,} on." if indexes else "."),
            "yellow",
        )
    say(
        f"{report.checkpoint.origin} is in order up to entry {report.checkpoint.size - 1:,}; "
        f"root {report.checkpoint.root.hex()}.",
        "green",
    )


def _as_object(report: AuditReport) -> dict[str, Any]:
    refused = sum(count for (_, outcome), count in report.outcomes.items() if outcome is not Outcome.ACCEPTED)
    return {
        "verified": True,
        "origin": report.checkpoint.origin,
        "entries": report.entries,
        "root": report.checkpoint.root.hex(),
        "signatures": report.signatures,
        "accepted": report.outcomes.total() - refused,
        "refused": refused,
        "outcomes": [
            {"kind": kind, "outcome": outcome.name, "count": count}
            for (kind, outcome), count in sorted(report.outcomes.items())
        ],
        "cards": report.cards,
        "points_outstanding": report.points_outstanding,
        "windows_closed": list(report.windows_closed),
        "windows_proposed": list(report.windows_proposed),
        "statement_digests": report.statement_digests,
        "statement_files": report.statement_files,
        "replaced_proposals": list(report.replaced_proposals),
        "to_review": {key_id: list(indexes) for key_id, indexes in report.to_review.items()},
    }
