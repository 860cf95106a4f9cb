"""Files that people keep of the log, read as evidence: checkpoints, proofs, and receipts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from back_office.errors import BackOfficeError
from clearing.audit.evidence import Evidence
from clearing.contract.bounds import PAYLOAD_BYTES_MAX
from clearing.contract.receipt import receipt_of
from clearing.log.merkle import ProofError
from clearing.log.note import NoteError, Verifier
from clearing.log.proof import FIRST_LINE, parse_proof
from clearing.v1.entry_pb2 import Receipt
from merchant_gateway.client.kept_receipts import FIRST_BYTES, read_checkpoints, read_receipts

FILE_BYTES_MAX = 4 * PAYLOAD_BYTES_MAX
"""More than the largest receipt."""

SIGNATURE_LINE = "\n\n— ".encode()
"""What begins the signatures of a note (C2SP signed-note)."""


def read_evidence(paths: Sequence[Path], verifier: Verifier) -> Evidence:
    """What the files hold of the log of this key, every piece of it verified.

    Raises ``BackOfficeError`` and ``ReceiptStoreError``, and ``TwoLogsError`` if the files contradict each other.
    """
    evidence = Evidence(verifier)
    for path in paths:
        try:
            _add(evidence, path)
        except (NoteError, ProofError) as error:
            raise BackOfficeError(f"--earlier: {path} proves nothing: {error}") from None
    return evidence


def _add(evidence: Evidence, path: Path) -> None:
    source = str(path)
    content = _first_bytes(path)
    if content.startswith(FIRST_BYTES):
        for checkpoint in read_checkpoints(path):
            evidence.add_checkpoint(checkpoint, source)
        for receipt in read_receipts(path):
            evidence.add_receipt(receipt, source)
    elif content.startswith(FIRST_LINE.encode()):
        # Its entry is in the tree of its checkpoint, so the checkpoint says it all.
        evidence.add_checkpoint(parse_proof(_text(path, content)).signed_checkpoint, source)
    elif message := _receipt(content):
        evidence.add_receipt(receipt_of(message), source)
    elif SIGNATURE_LINE in content:
        evidence.add_checkpoint(_text(path, content), source)
    else:
        raise BackOfficeError(
            f"--earlier: {path} is neither a signed checkpoint (a log's file named checkpoint), nor a proof "
            "(.tlog-proof), nor a receipt as the gateway gave it, nor a file of receipts"
        )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except IsADirectoryError:
        raise BackOfficeError(f"--earlier: {path} is a folder; name the file in it: {path / 'checkpoint'}") from None
    except OSError as error:
        raise BackOfficeError(f"--earlier: cannot read {path}: {error.strerror}") from None


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BackOfficeError(f"--earlier: {path} is damaged: it is not valid UTF-8") from None


def _receipt(content: bytes) -> Receipt | None:
    """The receipt in its serialised form; None if it is none."""
    try:
        message = Receipt.FromString(content)
    except DecodeError:
        return None
    return message if message.entry and message.checkpoint else None
