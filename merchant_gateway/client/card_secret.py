"""The secret from which a merchant system derives card tokens of its own customer numbers (``clearing.card_token``)."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from pathlib import Path

from clearing.signing.key_files import (
    KeyFileError,
    KeyFileExistsError,
    KeyFileMissingError,
    read_private_file,
    write_private_file,
)

SECRET_BYTES = 32

_TEXT = re.compile(rb"([0-9a-f]{64})\n?")


def card_secret(path: Path) -> bytes:
    """The 32 bytes in the file, where they stand in hexadecimal. Where there is no file, one is made.

    Keep the file: without it the same customers get other cards. Raises ``KeyFileError``.
    """
    try:
        return _read(path)
    except KeyFileMissingError:
        pass
    # If it exists now, another process was faster: its secret is the one.
    with suppress(KeyFileExistsError):
        write_private_file(path, secrets.token_hex(SECRET_BYTES).encode() + b"\n")
    return _read(path)


def _read(path: Path) -> bytes:
    text = _TEXT.fullmatch(read_private_file(path))
    if text is None:
        raise KeyFileError(
            f"{path} does not hold {SECRET_BYTES} bytes in hexadecimal; give the file that the card tokens were "
            "derived from, or a name that is not taken to begin anew"
        )
    return bytes.fromhex(text[1].decode())
