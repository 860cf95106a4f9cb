"""Key files: private from the first byte, never overwritten, and every fault named without showing the key."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from clearing.signing.key_files import (
    FILE_BYTES_MAX,
    KeyFileError,
    KeyFileExistsError,
    KeyFileMissingError,
    read_private_key,
    write_private_file,
    write_private_key,
)
from clearing.signing.keys import PrivateKey

KEY = PrivateKey(bytes(range(32)))

# RFC 8410 §10.3: the private key whose PEM the specification prints.
RFC_8410_PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC_8410_SEED = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842"


def private(path: Path, content: bytes) -> Path:
    """A private file with this content."""
    write_private_file(path, content)
    return path


def test_the_key_of_the_specification_is_read(tmp_path: Path) -> None:
    assert read_private_key(private(tmp_path / "key.pem", RFC_8410_PEM)).seed.hex() == RFC_8410_SEED


@pytest.mark.parametrize("passphrase", [None, b"correct horse", "Schlüssel".encode(), b"x" * 1_023])
def test_a_written_key_is_read_again(tmp_path: Path, passphrase: bytes | None) -> None:
    path = tmp_path / "key.pem"
    write_private_key(path, KEY, passphrase)
    assert read_private_key(path, passphrase) == KEY


def test_only_the_owner_may_read_a_key_file_whatever_the_umask_says(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        write_private_key(tmp_path / "key.pem", KEY)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_private_key(path, KEY)
    with pytest.raises(KeyFileExistsError, match=r"key\.pem exists"):
        write_private_key(path, PrivateKey.generate())
    assert read_private_key(path) == KEY
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_an_encrypted_key_does_not_show_its_seed(tmp_path: Path) -> None:
    plain = ed25519.Ed25519PrivateKey.from_private_bytes(KEY.seed).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    write_private_key(tmp_path / "key.pem", KEY, b"correct horse")
    encrypted = (tmp_path / "key.pem").read_bytes()
    assert encrypted.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert plain.splitlines()[1] not in encrypted


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileMissingError, match=r"there is no file .*absent\.pem"):
        read_private_key(tmp_path / "absent.pem")


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    below_a_file = private(tmp_path / "file", b"") / "key.pem"
    with pytest.raises(KeyFileError, match=r"cannot read .*Not a directory"):
        read_private_key(below_a_file)
    with pytest.raises(KeyFileError, match=r"cannot write .*Not a directory"):
        write_private_key(below_a_file, KEY)
    with pytest.raises(KeyFileError, match=r"cannot read .*Is a directory"):
        read_private_key(tmp_path)


def test_a_pipe_instead_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileError, match="is not a file"):
        read_private_key(tmp_path / "pipe")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_or_change_is_refused_saying_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    write_private_key(path, KEY)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}.*chmod 600 {path}"):
        read_private_key(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        RFC_8410_PEM[:-40],
        RFC_8410_PEM.replace(b"MC4C", b"MC4D"),
        ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        bytes(range(32)),
    ],
    ids=["empty", "text", "cut short", "damaged", "public key", "raw seed"],
)
def test_a_file_without_a_private_key_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyFileError, match=r"key\.pem does not hold a private key"):
        read_private_key(private(tmp_path / "key.pem", content))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            b'{"origin": "cards.example/log", "log_verifier": "cards.example/log+0+A"}',
            "the alliance's name and public key",
        ),
        (
            ed25519.Ed25519PrivateKey.generate()
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "a public key",
        ),
        (b"-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n", "a certificate"),
        (b"merchant,legal_name\n", "in PEM"),
    ],
    ids=["alliance.json", "public key", "certificate", "text"],
)
def test_a_file_that_is_no_secret_is_named_for_what_it_is_and_need_not_be_private(
    tmp_path: Path, content: bytes, named: str
) -> None:
    path = private(tmp_path / "given", content)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match=rf"given does not hold a private key.*{named}") as raised:
        read_private_key(path)
    assert "chmod" not in str(raised.value)


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="larger than"):
        read_private_key(private(tmp_path / "key.pem", b"x" * (FILE_BYTES_MAX + 1)))


@pytest.mark.parametrize("passphrase", [None, b"", b"wrong"])
def test_a_missing_or_wrong_passphrase_is_named(tmp_path: Path, passphrase: bytes | None) -> None:
    write_private_key(tmp_path / "key.pem", KEY, b"correct horse")
    with pytest.raises(KeyFileError, match="passphrase"):
        read_private_key(tmp_path / "key.pem", passphrase)


@pytest.mark.parametrize("passphrase", [b"", b"x" * 1_024])
def test_a_passphrase_that_cannot_be_used_writes_nothing(tmp_path: Path, passphrase: bytes) -> None:
    with pytest.raises(KeyFileError, match="1 to 1,023 bytes"):
        write_private_key(tmp_path / "key.pem", KEY, passphrase)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), x25519.X25519PrivateKey.generate()], ids=["ECDSA", "X25519"]
)
def test_a_key_of_another_algorithm_is_refused(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey
) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(KeyFileError, match="an Ed25519 key is needed"):
        read_private_key(private(tmp_path / "key.pem", pem), b"secret")


def test_no_error_shows_anything_of_the_key_or_the_passphrase(tmp_path: Path) -> None:
    path = private(tmp_path / "key.pem", RFC_8410_PEM.replace(b"MC4C", b"MC4D"))
    encrypted = tmp_path / "encrypted.pem"
    write_private_key(encrypted, KEY, b"correct horse")
    for file, passphrase, text in (
        (path, None, "does not hold a private key"),
        (encrypted, b"battery staple", "the passphrase does not open"),
    ):
        with pytest.raises(KeyFileError, match=text) as raised:
            read_private_key(file, passphrase)
        shown = f"{raised.value!r} {raised.value.__cause__!r}"
        assert "INTuctv5" not in shown
        assert "staple" not in shown
        assert raised.value.__suppress_context__
