"""TLS credentials out of files: a server's certificate and key, a client's, and the authorities that each side trusts.

Certificates are PEM, a chain with the holder's own first. A private key is PEM too (PKCS#8 or the older forms),
readable by its owner only, and encrypted or not. What would fail in a handshake, with a message that neither side
understands, is found here, before anything listens or connects.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from clearing.errors import ClearingError
from clearing.signing.key_files import FILE_BYTES_MAX, read_private_file

Now = Callable[[], datetime.datetime]


class TlsFileError(ClearingError):
    """A certificate or key for TLS cannot be used. The text never shows what a key's file holds."""


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def server_credentials(
    certificate: Path, key: Path, client_ca: Path | None = None, *, passphrase: bytes | None = None, now: Now = _utc_now
) -> grpc.ServerCredentials:
    """Credentials to listen with; with ``client_ca`` every client must show a certificate that it signed.

    Raises ``TlsFileError``, or ``KeyFileError`` where the key's file is missing or others may read it.
    """
    chain, key_pem = _certificate_and_key(certificate, key, passphrase, now())
    authorities = _authorities(client_ca, now()) if client_ca is not None else None
    return grpc.ssl_server_credentials(
        [(key_pem, chain)], root_certificates=authorities, require_client_auth=authorities is not None
    )


def channel_credentials(
    ca: Path,
    certificate: Path | None = None,
    key: Path | None = None,
    *,
    passphrase: bytes | None = None,
    now: Now = _utc_now,
) -> grpc.ChannelCredentials:
    """Credentials to connect with: ``ca`` signed the gateway's certificate; the other two are the client's own.

    Raises ``TlsFileError``, or ``KeyFileError`` where the key's file is missing or others may read it.
    """
    authorities = _authorities(ca, now())
    if certificate is None or key is None:
        if certificate is not None or key is not None:
            raise TlsFileError("a client's certificate and its private key are given together, or neither is")
        return grpc.ssl_channel_credentials(authorities)
    chain, key_pem = _certificate_and_key(certificate, key, passphrase, now())
    return grpc.ssl_channel_credentials(authorities, key_pem, chain)


def _certificate_and_key(
    certificate: Path, key: Path, passphrase: bytes | None, now: datetime.datetime
) -> tuple[bytes, bytes]:
    """The chain and its private key, unencrypted, both PEM: what gRPC takes."""
    chain = _certificates(certificate)
    for each in chain:
        _require_valid(each, certificate, now)
    try:
        private_key = load_pem_private_key(read_private_file(key), passphrase)
    except TypeError:
        # A passphrase for a key that needs none, which is no fault: one passphrase serves all files of a home folder.
        if passphrase is None:
            raise TlsFileError(f"the key in {key} is encrypted; give its passphrase") from None
        return _certificate_and_key(certificate, key, None, now)
    except (ValueError, UnsupportedAlgorithm):
        # The library's texts are left out: they may quote the file.
        raise TlsFileError(f"{key} does not hold a private key in PEM that its passphrase opens") from None
    der, form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private_key.public_key().public_bytes(der, form) != chain[0].public_key().public_bytes(der, form):
        raise TlsFileError(
            f"the key in {key} is not that of the first certificate in {certificate}; name the two that were made "
            "together"
        )
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain), pem


def _authorities(path: Path, now: datetime.datetime) -> bytes:
    """The certificates of a file that still count; it may hold old ones beside their successors."""
    certificates = _certificates(path)
    valid = [each for each in certificates if each.not_valid_before_utc <= now <= each.not_valid_after_utc]
    if not valid:
        _require_valid(certificates[0], path, now)
    return b"".join(each.public_bytes(Encoding.PEM) for each in valid)


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        with path.open("rb") as file:
            pem = file.read(FILE_BYTES_MAX * 16 + 1)
    except FileNotFoundError:
        raise TlsFileError(f"there is no file {path}") from None
    except OSError as error:
        raise TlsFileError(f"cannot read {path}: {error.strerror}") from None
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TlsFileError(f"{path} does not hold certificates in PEM; give the file made for it") from None


def _require_valid(certificate: x509.Certificate, path: Path, now: datetime.datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        raise TlsFileError(f"a certificate in {path} was valid until {ends:%Y-%m-%d %H:%M} UTC; renew it")
    if now < begins:
        raise TlsFileError(
            f"a certificate in {path} is valid from {begins:%Y-%m-%d %H:%M} UTC on; wait, or set this machine's clock"
        )
