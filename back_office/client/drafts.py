"""Drafts: signed instructions in files, on their way to others who sign them too. The file is the envelope's bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from clearing.contract.bounds import SIGNATURES_MAX
from clearing.contract.instruction import PAYLOAD_TYPE, decode_instruction
from clearing.errors import ClearingError, Rejection
from clearing.signing.envelope import add_signature, check_shape, pre_authentication_encoding
from clearing.signing.keys import PrivateKey, signature_holds
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.instruction_pb2 import Instruction
from clearing.whole_file import write_whole

DRAFT_BYTES_MAX = 65_536
"""More than the largest envelope."""


class DraftError(ClearingError):
    """A file is no draft, or cannot be written."""


def write_draft(path: Path, envelope: Envelope) -> None:
    """Write the envelope, whole or not at all. Raises ``DraftError``, also where the file is there and is no draft."""
    if path.exists():
        try:
            read_draft(path)
        except DraftError:
            raise DraftError(f"{path} is there already and is no draft; name another file") from None
    try:
        write_whole(path, envelope.SerializeToString(deterministic=True), durable=True)
    except OSError as error:
        raise DraftError(f"cannot write {path}: {error.strerror}") from None


def read_draft(path: Path) -> tuple[Envelope, Instruction]:
    """The envelope in a file, and the instruction in it, well formed. Raises ``DraftError``.

    Its signatures are not verified: whose keys are valid, the gateway knows.
    """
    try:
        with path.open("rb") as file:
            content = file.read(DRAFT_BYTES_MAX + 1)
    except OSError as error:
        raise DraftError(f"cannot read {path}: {error.strerror}") from None
    try:
        envelope = Envelope.FromString(content)
        check_shape(envelope, PAYLOAD_TYPE)
        decode_instruction(envelope.payload)
    except (DecodeError, Rejection) as error:
        raise DraftError(f"{path} is no draft of an instruction, or is damaged: {error}") from None
    return envelope, Instruction.FromString(envelope.payload)


def require_unsigned_by(path: Path, envelope: Envelope, keys: Sequence[PrivateKey]) -> None:
    """Raise ``DraftError`` if one of the keys has signed the draft of this file already, or no more keys can."""
    signed = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    for key in keys:
        for signature in envelope.signatures:
            if signature.keyid == key.key_id and signature_holds(key.public_key, signed, signature.sig):
                raise DraftError(f"key {key.key_id} has signed {path} already; have another person sign it")
    if len(envelope.signatures) + len(keys) > SIGNATURES_MAX:
        raise DraftError(f"an instruction has at most {SIGNATURES_MAX} signatures")


def sign_draft(path: Path, envelope: Envelope, keys: Sequence[PrivateKey]) -> None:
    """Add the keys' signatures to a draft that was read, and write it to its file. Raises ``DraftError``."""
    require_unsigned_by(path, envelope, keys)
    for key in keys:
        add_signature(envelope, key)
    write_draft(path, envelope)
