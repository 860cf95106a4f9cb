"""Signed notes as in C2SP signed-note, with Ed25519 keys: text followed by one signature line a signer.

<text, ending in a newline>
<empty line>
— <key name> <base64 of key ID and signature>
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from clearing.errors import ClearingError
from clearing.log.encoding import decode_base64, encode_base64

ED25519 = b"\x01"
KEY_ID_SIZE = 4
PUBLIC_KEY_SIZE = 32
SEED_SIZE = 32
SIGNATURE_SIZE = 64
SIGNATURE_PREFIX = "\N{EM DASH} "
LARGEST_NOTE_BYTES = 1_000_000
MOST_SIGNATURES = 100


class NoteError(ClearingError):
    """A signed note, a checkpoint or a note key is malformed, or not signed as it must be."""


class OpenedNote(NamedTuple):
    """The text of a note, and the names of the known keys that signed it, in the note's order."""

    text: str
    signed_by: list[str]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public Ed25519 key (32 bytes) with the name it signs notes under. Raises NoteError if malformed."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise NoteError(f"{self.name!r} is no key name; it must be non-empty, without spaces and plus signs")
        if len(self.public_key) != PUBLIC_KEY_SIZE:
            raise NoteError(f"an Ed25519 public key has {PUBLIC_KEY_SIZE} bytes, not {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The four bytes that, with the name, identify the key in a signature line."""
        named_key = self.name.encode() + b"\n" + ED25519 + self.public_key
        return hashlib.sha256(named_key).digest()[:KEY_ID_SIZE]

    @property
    def vkey(self) -> str:
        """The key as text: name, key ID in hex, base64 of algorithm and key, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(ED25519 + self.public_key)}"

    def verify(self, text: str, signature: bytes) -> None:
        """Check an Ed25519 signature over the text; raises NoteError if it is not this key's."""
        wrong = f"the signature of {self.name!r} does not match the text; the note was altered or is not genuine"
        if len(signature) != SIGNATURE_SIZE:
            raise NoteError(wrong)
        try:
            VerifyKey(self.public_key).verify(text.encode(), signature)
        except BadSignatureError as error:
            raise NoteError(wrong) from error


@dataclass(frozen=True, slots=True)
class Signer:
    """A private Ed25519 key, given as its seed of 32 bytes (RFC 8032 §5.1.5), with its name.

    Raises NoteError if malformed. The seed is kept out of the representation, so that it reaches no log file.
    """

    name: str
    seed: bytes = field(repr=False)
    verifier: Verifier = field(init=False, repr=False, compare=False)
    """The public key that opens what this key signs."""
    _key_pair: SigningKey = field(init=False, repr=False, compare=False)
    """Derived from the seed once: that takes as long as a signature."""

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_SIZE:
            raise NoteError(f"an Ed25519 seed has {SEED_SIZE} bytes, not {len(self.seed)}")
        key_pair = SigningKey(self.seed)
        object.__setattr__(self, "_key_pair", key_pair)
        object.__setattr__(self, "verifier", Verifier(self.name, bytes(key_pair.verify_key)))

    @property
    def vkey(self) -> str:
        """The public key as text, as `parse_verifier` reads it."""
        return self.verifier.vkey

    def sign(self, text: str) -> bytes:
        """The Ed25519 signature (64 bytes) over the text."""
        return self._key_pair.sign(text.encode()).signature


def parse_verifier(vkey: str) -> Verifier:
    """Read a public key from its text `name+8 hex digits+base64`; raises NoteError if it is malformed.

    What is not a public key is never repeated: it may be a private one, given by mistake.
    """
    name, _, rest = vkey.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        key = decode_base64(encoded)
    except ValueError as error:
        raise NoteError("the key is not of the form name+hex+base64; copy it whole") from error
    if key[:1] != ED25519:
        raise NoteError("the key is not an Ed25519 key of the form name+hex+base64; copy it whole")
    verifier = Verifier(name, key[1:])
    if verifier.key_id.hex() != key_id:
        raise NoteError(f"the key {vkey!r} contradicts itself: its ID should be {verifier.key_id.hex()}; copy it again")
    return verifier


def sign(text: str, *signers: Signer) -> str:
    """Make a note of the text, which must end in a newline, with one signature line a signer.

    Raises NoteError for a text that no note can carry, and if there is no signer.
    """
    if not signers:
        raise NoteError("a note needs at least one signer")
    if not text.endswith("\n"):
        raise NoteError("the text of a note must end in a newline")
    _check_characters(text)
    lines = [
        f"{SIGNATURE_PREFIX}{signer.name} {encode_base64(signer.verifier.key_id + signer.sign(text))}\n"
        for signer in signers
    ]
    note = f"{text}\n{''.join(lines)}"
    _check_limits(note, len(lines))
    return note


def open(note_text: str, verifiers: Iterable[Verifier]) -> OpenedNote:  # noqa: A001 - used as note.open()
    """Check a note against the known keys and give its text and the names of those that signed it.

    Signatures by unknown keys are ignored. Raises NoteError if the note is malformed, if a known key's
    signature is wrong, or if no known key signed.
    """
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    _check_characters(note_text)
    text, separator, signature_part = note_text.rpartition("\n\n")
    if not separator:
        raise NoteError("the note has no empty line before its signatures; it is cut short or not a signed note")
    if not signature_part.endswith("\n"):
        raise NoteError("the note has no signature line, or its last line is cut short")
    text += "\n"
    lines = signature_part[:-1].split("\n")
    _check_limits(note_text, len(lines))
    signed_by: list[str] = []
    for line in lines:
        name, key_id, signature = _parse_signature_line(line)
        verifier = known.get((name, key_id))
        if verifier is None:
            continue
        verifier.verify(text, signature)
        if name not in signed_by:
            signed_by.append(name)
    if not signed_by:
        names = ", ".join(sorted({name for name, _ in known})) or "none given"
        raise NoteError(f"the note is not signed by any known key ({names}); check which key it should open with")
    return OpenedNote(text, signed_by)


def _parse_signature_line(line: str) -> tuple[str, bytes, bytes]:
    """Name, key ID and signature of a signature line, whoever's it is."""
    name, _, encoded = line.removeprefix(SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(SIGNATURE_PREFIX) or not _is_key_name(name):
        raise NoteError(f"{line!r} is no signature line; it must be an em dash, a key name and a signature")
    try:
        signed = decode_base64(encoded)
    except ValueError as error:
        raise NoteError(f"the signature of {name!r} cannot be read: {error}") from error
    if len(signed) <= KEY_ID_SIZE:
        raise NoteError(f"the signature of {name!r} is cut short")
    return name, signed[:KEY_ID_SIZE], signed[KEY_ID_SIZE:]


def _is_key_name(name: str) -> bool:
    return name != "" and "+" not in name and not any(character.isspace() for character in name)


def _check_characters(text: str) -> None:
    for character in text:
        if character < " " and character != "\n":
            raise NoteError(f"a note cannot contain the control character {character!r}; lines end in a newline only")
        if "\ud800" <= character <= "\udfff":
            raise NoteError("the note is not valid UTF-8")


def _check_limits(note: str, signatures: int) -> None:
    if signatures > MOST_SIGNATURES:
        raise NoteError(f"the note has {signatures} signatures; at most {MOST_SIGNATURES} are taken")
    if len(note.encode()) > LARGEST_NOTE_BYTES:
        raise NoteError(f"the note is larger than {LARGEST_NOTE_BYTES} bytes")
