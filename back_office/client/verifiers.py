"""The alliance's verifier key, as somebody keeps it: as text, in a file, or in an ``alliance.json``."""

from __future__ import annotations

from pathlib import Path

from back_office.errors import BackOfficeError
from clearing.log.note import NoteError, Verifier, parse_verifier
from merchant_gateway.client.alliance_file import read_alliance


def verifier_of(key: str) -> Verifier:
    """The verifier that is typed, or that a file of this name holds.

    Raises ``NoteError``, ``AllianceFileError`` or ``BackOfficeError``.
    """
    path = Path(key)
    if not path.is_file():
        return parse_verifier(key)
    if path.suffix == ".json":
        return read_alliance(path).verifier
    try:
        text = path.read_text(encoding="utf-8").strip()
        if "PRIVATE KEY-----" in text:
            raise BackOfficeError(
                f"--key: {path} holds a private key; give the alliance's public one, such as alliance.json"
            )
        return parse_verifier(text)
    except NoteError as error:
        raise BackOfficeError(f"--key: {path} holds no verifier key: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackOfficeError(f"--key: cannot read {path}: {error}") from None
