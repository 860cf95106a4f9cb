"""Private keys in files: Ed25519 as PKCS#8 (RFC 8410) in PEM, encrypted if a passphrase is given.

Files are written whole or not at all, are readable by their owner only from the first byte on, and never overwritten.
``openssl pkey -in FILE`` reads them, and what ``openssl genpkey -algorithm ed25519`` makes is read here. The log's
signer is made of the same file: ``Signer(origin, key.seed)``.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from clearing.errors import ClearingError
from clearing.signing.keys import PrivateKey
from clearing.whole_file import FOR_THE_OWNER, write_whole

PASSPHRASE_BYTES_MAX = 1_023
"""The most OpenSSL takes."""
FILE_BYTES_MAX = 65_536

_OTHERS = 0o077
_PRIVATE_KEY = b"PRIVATE KEY-----"
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_OTHER_FILES = {
    b"-----BEGIN PUBLIC KEY-----": "a public key",
    b"-----BEGIN CERTIFICATE-----": "a certificate",
    b'"log_verifier"': "the alliance's name and public key, with which the log is verified",
}
"""What is given by mistake: what shows it, and what to call it."""


class KeyFileError(ClearingError):
    """A file with a key or another secret cannot be written or used. The text never shows what it holds."""


class KeyFileMissingError(KeyFileError):
    """There is no such file."""


class KeyFileExistsError(KeyFileError):
    """A file of this name exists, and a secret is never overwritten."""


def write_private_key(path: Path, key: PrivateKey, passphrase: bytes | None = None) -> None:
    """Make a file of the key, with mode 0600, encrypted if a passphrase is given.

    Raises ``KeyFileExistsError`` rather than overwrite, and ``KeyFileError``.
    """
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        if not 1 <= len(passphrase) <= PASSPHRASE_BYTES_MAX:
            raise KeyFileError(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX:,} bytes")
        encryption = BestAvailableEncryption(passphrase)
    private_key = Ed25519PrivateKey.from_private_bytes(key.seed)
    write_private_file(path, private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def read_private_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """The key in a file. A passphrase that the file does not need is not looked at.

    Raises ``KeyFileMissingError``, and ``KeyFileError`` where it cannot be read, may be read by others, holds no
    Ed25519 key, or the passphrase does not open it.
    """
    pem, mode = _read(path)
    # First what it is: a file that is no secret need not be made private.
    if _PRIVATE_KEY not in pem:
        held = next((f", but {name}" for mark, name in _OTHER_FILES.items() if mark in pem), " in PEM (PKCS#8)")
        raise KeyFileError(
            f"{path} does not hold a private key{held}; give the file made for the key, such as operator-NAME.pem"
        )
    _require_private(path, mode)
    is_encrypted = _ENCRYPTED in pem
    if is_encrypted and not passphrase:
        raise KeyFileError(f"the key in {path} is encrypted; give its passphrase")
    try:
        private_key = load_pem_private_key(pem, passphrase if is_encrypted else None)
    except UnsupportedAlgorithm:
        raise KeyFileError(f"{path} holds a key of another algorithm; an Ed25519 key is needed") from None
    except (ValueError, TypeError):
        # TypeError: encrypted in an older form than PKCS#8. The library's texts are left out: they may quote the file.
        if is_encrypted:
            raise KeyFileError(f"the passphrase does not open the key in {path}, or the file is damaged") from None
        raise KeyFileError(
            f"{path} does not hold a private key in PEM (PKCS#8), or is damaged; give the file made for the key"
        ) from None
    if not isinstance(private_key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a key of another algorithm; an Ed25519 key is needed")
    return PrivateKey(private_key.private_bytes_raw())


def write_private_file(path: Path, content: bytes) -> None:
    """Make a file that only its owner may read.

    Raises ``KeyFileExistsError`` rather than replace one: an overwritten key is lost for good.
    Raises ``KeyFileError`` where the folder does not take it.
    """
    try:
        write_whole(path, content, mode=FOR_THE_OWNER, durable=True, replace=False)
    except FileExistsError:
        raise KeyFileExistsError(f"{path} exists and is not overwritten; move it away or choose another name") from None
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from None


def read_private_file(path: Path) -> bytes:
    """What the file holds. Raises ``KeyFileMissingError`` and ``KeyFileError``."""
    content, mode = _read(path)
    _require_private(path, mode)
    return content


def _read(path: Path) -> tuple[bytes, int]:
    """What the file holds, and its mode."""
    try:
        with open(path, "rb", opener=_open_without_blocking) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{path} is not a file; name the file itself")
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise KeyFileMissingError(f"there is no file {path}") from None
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise KeyFileError(f"{path} is larger than {FILE_BYTES_MAX:,} bytes; it is not the file you mean")
    return content, mode


def _require_private(path: Path, mode: int) -> None:
    if mode & _OTHERS:
        raise KeyFileError(
            f"{path} may be read or changed by others (mode {mode & 0o777:04o}); "
            f"make it private first: chmod 600 {path}"
        )


def _open_without_blocking(path: str, flags: int) -> int:
    # A pipe of this name would otherwise hold the program up for ever.
    return os.open(path, flags | os.O_NONBLOCK)
