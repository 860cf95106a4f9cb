"""Copies of the log outside the gateway: exporting all of it, and checking a single entry with its proof.

An export is verified by ``settlement.auditing.audit.verify_export``, and an entry of it proved by
``clearing.audit.folder_proof``: neither needs a gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from back_office.client.connection import GatewayConnection
from back_office.errors import BackOfficeError
from clearing.contract.entry import Entry, decode_entry
from clearing.log.checkpoint import Checkpoint
from clearing.log.note import Verifier
from clearing.log.proof import verify_proof
from clearing.signing.keys import PrivateKey
from merchant_gateway.client.log_export import Export, LogExporter


@dataclass(frozen=True, slots=True)
class CheckedEntry:
    """An entry whose proof holds."""

    index: int
    entry: Entry
    checkpoint: Checkpoint
    """Under which it is proved."""


def export_log(
    connection: GatewayConnection, key: PrivateKey, directory: Path, progress: Callable[[int, int], None]
) -> Export:
    """Fetch the whole log and the proposed statements with an auditor's key; an earlier export is extended.

    ``progress`` is told how many entries of how many are there. Raises ``GatewayError``, and ``LogExportError`` where
    what came is not the log that the alliance signed.
    """
    return LogExporter(connection, connection.alliance.verifier, key).export(directory, progress)


def check_proof(proof: Path, entry: Path, verifier: Verifier) -> CheckedEntry:
    """The entry in a file, if the proof in another one holds (C2SP tlog-proof).

    Raises ``BackOfficeError``, and ``ProofError``, ``NoteError`` or ``EntryError`` where it does not.
    """
    try:
        proof_text, leaf = proof.read_text(encoding="utf-8"), entry.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise BackOfficeError(f"cannot read the proof or the entry: {error}") from None
    checkpoint = verify_proof(proof_text, leaf, verifier)
    index = int(next(line for line in proof_text.splitlines() if line.startswith("index ")).removeprefix("index "))
    return CheckedEntry(index, decode_entry(leaf), checkpoint)
