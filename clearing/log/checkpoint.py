"""Checkpoints as in C2SP tlog-checkpoint: the signed statement of the log's size and root."""

from dataclasses import dataclass

from clearing.log import note
from clearing.log.encoding import decode_base64, encode_base64, parse_decimal
from clearing.log.merkle import HASH_SIZE
from clearing.log.note import NoteError, Signer, Verifier


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one size. Raises NoteError if a member is out of bounds.

    origin      the log's identity, one non-empty line
    size        number of entries
    root        root of the tree of these entries (RFC 6962 §2.1), 32 bytes
    extensions  further lines of the text; this log writes none, others may
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise NoteError(f"{self.origin!r} is no origin of a log; it must be one non-empty line")
        if self.size < 0:
            raise NoteError(f"a log cannot have {self.size} entries")
        if len(self.root) != HASH_SIZE:
            raise NoteError(f"the root of a log has {HASH_SIZE} bytes, not {len(self.root)}")
        if any(not line or "\n" in line for line in self.extensions):
            raise NoteError("an extension of a checkpoint must be one non-empty line")

    def text(self) -> str:
        """The checkpoint as the text of a note."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a checkpoint from the text of a verified note; raises NoteError if it is malformed."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise NoteError("the checkpoint is cut short: it must have an origin, a size and a root, a line each")
        origin, size, root, *extensions = lines
        try:
            return cls(origin, parse_decimal(size), decode_base64(root), tuple(extensions))
        except ValueError as error:
            raise NoteError(f"the size or the root of the checkpoint of {origin!r} cannot be read: {error}") from error


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """The checkpoint as a note signed by the log's key; raises NoteError if the key has another name."""
    _check_origin(checkpoint, signer.name)
    return note.sign(checkpoint.text(), signer)


def open_checkpoint(note_text: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint in a note signed by the log's key; further signatures are ignored.

    Raises NoteError if the note is malformed, not signed by this key, or names another log as its origin.
    """
    checkpoint = Checkpoint.parse(note.open(note_text, [verifier]).text)
    _check_origin(checkpoint, verifier.name)
    return checkpoint


def _check_origin(checkpoint: Checkpoint, key_name: str) -> None:
    if checkpoint.origin != key_name:
        raise NoteError(
            f"the checkpoint is of the log {checkpoint.origin!r}, the key of {key_name!r}; use the key of that log"
        )
