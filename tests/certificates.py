"""Certificates for tests: an authority, and what it signs for gateways and clients, as files."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from clearing.signing.key_files import write_private_file

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class CertificateFiles(NamedTuple):
    """A certificate and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates, and keeps all in a folder."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    file: Path

    def gateway(self, name: str = "gateway", **options: Any) -> CertificateFiles:
        """For a server at 127.0.0.1."""
        return self._signed(name, [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))], **options)

    def client(self, name: str, *uris: str, **options: Any) -> CertificateFiles:
        """For a client that these URIs name."""
        return self._signed(name, [x509.UniformResourceIdentifier(uri) for uri in uris], **options)

    def dns_client(self, name: str, dns_name: str) -> CertificateFiles:
        """For a client whose certificate says it is a host of this name, whatever the name looks like."""
        return self._signed(name, [x509.DNSName(dns_name)])

    def _signed(
        self,
        name: str,
        alternative_names: list[x509.GeneralName],
        *,
        begins: datetime.datetime = NOW - DAY,
        ends: datetime.datetime = NOW + DAY,
        passphrase: bytes | None = None,
    ) -> CertificateFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self.name, key, begins, ends)
        if alternative_names:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
        files = CertificateFiles(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        files.certificate.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase)
        write_private_file(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return files


def new_authority(folder: Path, name: str = "authority", ends: datetime.datetime = NOW + DAY) -> Authority:
    """An authority with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key, NOW - DAY, ends).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    file = folder / f"{name}.pem"
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return Authority(folder, name, key, file)


def _builder(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
