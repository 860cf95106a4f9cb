"""What is wrong with certificate files is named before anything listens or connects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clearing.errors import ClearingError
from merchant_gateway.client import tls
from tests.certificates import DAY, NOW, Authority, CertificateFiles, new_authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return new_authority(tmp_path)


def exposed(files: CertificateFiles) -> CertificateFiles:
    files.key.chmod(0o640)
    return files


WRONG: dict[str, Callable[[Authority], CertificateFiles]] = {
    "there is no file .*none.pem": lambda a: CertificateFiles(a.folder / "none.pem", a.gateway().key),
    "cannot read .*directory": lambda a: CertificateFiles(a.folder, a.gateway().key),
    "does not hold certificates in PEM": lambda a: CertificateFiles(a.gateway().key, a.folder / "gateway.key"),
    "was valid until .* renew it": lambda a: a.gateway(begins=NOW - 2 * DAY, ends=NOW - DAY),
    "is valid from .* UTC on; wait": lambda a: a.gateway(begins=NOW + DAY, ends=NOW + 2 * DAY),
    "is not that of the first certificate": lambda a: CertificateFiles(a.gateway().certificate, a.gateway("other").key),
    "there is no file .*none.key": lambda a: CertificateFiles(a.gateway().certificate, a.folder / "none.key"),
    "may be read or changed by others": lambda a: exposed(a.gateway()),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_with_a_certificate_or_its_key_is_named_on_both_sides(authority: Authority, text: str) -> None:
    files = WRONG[text](authority)
    with pytest.raises(ClearingError, match=text):
        tls.server_credentials(files.certificate, files.key)
    with pytest.raises(ClearingError, match=text):
        tls.channel_credentials(authority.file, files.certificate, files.key)


def test_a_key_file_that_holds_no_key_is_named_without_showing_it(authority: Authority) -> None:
    files = authority.gateway()
    files.key.write_text("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n")
    with pytest.raises(tls.TlsFileError, match="does not hold a private key in PEM") as raised:
        tls.server_credentials(files.certificate, files.key)
    assert "secret" not in str(raised.value)


def test_an_encrypted_key_needs_its_passphrase_and_another_does_not_mind_one(authority: Authority) -> None:
    files, plain = authority.gateway(passphrase=b"correct"), authority.gateway("plain")
    for each in (files, plain):
        tls.server_credentials(each.certificate, each.key, passphrase=b"correct")
    for wrong, text in ((None, "is encrypted; give its passphrase"), (b"wrong", "that its passphrase opens")):
        with pytest.raises(tls.TlsFileError, match=text):
            tls.server_credentials(files.certificate, files.key, passphrase=wrong)


def test_an_authority_that_has_expired_is_named_and_one_beside_its_successor_is_left_out(tmp_path: Path) -> None:
    old = new_authority(tmp_path, "old", ends=NOW - DAY / 2)
    files = old.gateway()
    with pytest.raises(tls.TlsFileError, match="was valid until"):
        tls.server_credentials(files.certificate, files.key, old.file)
    with pytest.raises(tls.TlsFileError, match="was valid until"):
        tls.channel_credentials(old.file)
    new = new_authority(tmp_path, "new")
    both = tmp_path / "both.pem"
    both.write_bytes(old.file.read_bytes() + new.file.read_bytes())
    tls.channel_credentials(both)


def test_a_clients_certificate_without_its_key_is_refused(authority: Authority) -> None:
    with pytest.raises(tls.TlsFileError, match="together"):
        tls.channel_credentials(authority.file, authority.client("bakery").certificate)
