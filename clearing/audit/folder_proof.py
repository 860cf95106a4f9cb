"""Single entries, out of an exported log or a receipt, each with the proof that it is in the log (C2SP tlog-proof)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from clearing.contract.presentment import PAYLOAD_TYPE
from clearing.contract.receipt import Receipt
from clearing.errors import ClearingError
from clearing.log.folder import CHECKPOINT_FILE, FolderError, read_log_folder
from clearing.log.merkle import inclusion_path, leaf_hash
from clearing.log.note import Verifier
from clearing.log.proof import format_proof
from clearing.v1.entry_pb2 import Entry
from clearing.v1.presentment_pb2 import Presentment
from clearing.whole_file import write_whole


class NoSuchEntryError(ClearingError):
    """The log holds no such entry."""


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry's bytes and its proof file's text."""

    index: int
    entry: bytes
    proof: str

    @classmethod
    def of_receipt(cls, receipt: Receipt) -> ProvenEntry:
        """What a receipt proves, in the form that anybody checks. It is not verified here."""
        proof = format_proof(receipt.index, receipt.inclusion_path, receipt.checkpoint)
        return cls(receipt.index, receipt.leaf, proof)

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write both to ``entry-N.bin`` and ``entry-N.tlog-proof``. Raises ``FolderError``."""
        entry_file, proof_file = directory / f"entry-{self.index}.bin", directory / f"entry-{self.index}.tlog-proof"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            write_whole(entry_file, self.entry)
            write_whole(proof_file, self.proof.encode())
        except OSError as error:
            raise FolderError(f"the proof cannot be written to {directory}: {error.strerror}", str(directory)) from None
        return entry_file, proof_file


def prove_entry(directory: Path, verifier: Verifier, index: int) -> ProvenEntry:
    """The entry of this index. Raises ``NoSuchEntryError``, or ``FolderError`` if the export is not in order."""
    return _prove(directory, verifier, lambda place, _: place == index, f"no entry {index}")


def prove_reference(directory: Path, verifier: Verifier, merchant: str, reference: str) -> ProvenEntry:
    """The entry that decided a merchant's transaction: the first that holds its reference."""
    return _prove(
        directory,
        verifier,
        lambda _, leaf: _holds(leaf, merchant, reference),
        f"no transaction {reference!r} of {merchant}",
    )


def _prove(directory: Path, verifier: Verifier, wanted: Callable[[int, bytes], bool], otherwise: str) -> ProvenEntry:
    folder = read_log_folder(directory, verifier)
    leaf_hashes: list[bytes] = []
    found: tuple[int, bytes] | None = None
    for index, leaf in enumerate(folder.entries()):
        leaf_hashes.append(leaf_hash(leaf))
        if found is None and wanted(index, leaf):
            found = index, leaf
    if found is None:
        raise NoSuchEntryError(f"the export of {folder.checkpoint.size:,} entries holds {otherwise}")
    index, leaf = found
    path = inclusion_path(leaf_hashes, index, folder.checkpoint.size)
    signed_checkpoint = (directory / CHECKPOINT_FILE).read_text(encoding="utf-8")
    return ProvenEntry(index, leaf, format_proof(index, path, signed_checkpoint))


def _holds(leaf: bytes, merchant: str, reference: str) -> bool:
    if reference.encode() not in leaf:
        return False
    try:
        envelope = Entry.FromString(leaf).envelope
        if envelope.payload_type != PAYLOAD_TYPE:
            return False
        presentment = Presentment.FromString(envelope.payload)
    except DecodeError:
        return False
    return presentment.merchant == merchant and any(each.reference == reference for each in presentment.transactions)
