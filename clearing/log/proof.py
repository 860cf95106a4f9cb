"""Proof files as in C2SP tlog-proof: all it takes to check offline that an entry is in the log.

c2sp.org/tlog-proof@v1
extra <base64>              (optional, authenticated by nothing)
index <decimal>
<base64 of a path hash>     (none or more, from the leaf's sibling upwards)
<empty line>
<the signed checkpoint>
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.encoding import decode_base64, encode_base64, parse_decimal
from clearing.log.merkle import HASH_SIZE, ProofError, leaf_hash, verify_inclusion
from clearing.log.note import Verifier
from clearing.log.tile_reader import Path

FIRST_LINE = "c2sp.org/tlog-proof@v1"
EXTRA_PREFIX = "extra "
INDEX_PREFIX = "index "


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof file as read; nothing in it is checked yet.

    index              the entry's place in the log, from 0
    path               its inclusion path in the tree of the checkpoint
    signed_checkpoint  the checkpoint's note, verbatim
    extra              application data that no signature covers; empty if there is none
    """

    index: int
    path: Path
    signed_checkpoint: str
    extra: bytes = b""


def format_proof(index: int, path: Sequence[bytes], signed_checkpoint: str, extra: bytes = b"") -> str:
    """The text of a proof file; its name should end in `.tlog-proof`. Raises ProofError if malformed."""
    if index < 0:
        raise ProofError(f"entries are numbered from 0, not {index}")
    if any(len(sibling) != HASH_SIZE for sibling in path):
        raise ProofError(f"every hash of a proof must be exactly {HASH_SIZE} bytes")
    lines = [FIRST_LINE]
    if extra:
        lines.append(EXTRA_PREFIX + encode_base64(extra))
    lines.append(f"{INDEX_PREFIX}{index}")
    lines.extend(encode_base64(sibling) for sibling in path)
    return "\n".join(lines) + "\n\n" + signed_checkpoint


def parse_proof(text: str) -> Proof:
    """Read a proof file without checking what it claims; raises ProofError if it is malformed."""
    head, separator, signed_checkpoint = text.partition("\n\n")
    if not separator:
        raise ProofError("the proof has no empty line before its checkpoint; the file is cut short")
    lines = head.split("\n")
    if lines.pop(0) != FIRST_LINE:
        raise ProofError(f"this is not a proof file: its first line must be {FIRST_LINE!r}")
    extra = b""
    if lines and lines[0].startswith(EXTRA_PREFIX):
        extra = _decode(lines.pop(0).removeprefix(EXTRA_PREFIX), "extra data")
        if not extra:
            raise ProofError("the proof has an extra line without data; such a line must be left out")
    if not lines or not lines[0].startswith(INDEX_PREFIX):
        raise ProofError(f"the proof has no line {INDEX_PREFIX.strip()!r} where it must stand")
    try:
        index = parse_decimal(lines.pop(0).removeprefix(INDEX_PREFIX))
    except ValueError as error:
        raise ProofError(f"the index of the proof cannot be read: {error}") from error
    path = tuple(_decode(line, "path") for line in lines)
    if any(len(sibling) != HASH_SIZE for sibling in path):
        raise ProofError(f"every hash of a proof must be exactly {HASH_SIZE} bytes")
    return Proof(index, path, signed_checkpoint, extra)


def verify_proof(proof_text: str, entry: bytes, verifier: Verifier) -> Checkpoint:
    """Check that the entry is in the log whose key is given; return the checkpoint that vouches for it.

    The extra data is not covered. Raises ProofError if the proof is malformed or does not prove it,
    NoteError if its checkpoint is malformed or not signed by this key.
    """
    proof = parse_proof(proof_text)
    checkpoint = open_checkpoint(proof.signed_checkpoint, verifier)
    verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
    return checkpoint


def _decode(encoded: str, what: str) -> bytes:
    try:
        return decode_base64(encoded)
    except ValueError as error:
        raise ProofError(f"the {what} of the proof cannot be read: {error}") from error
