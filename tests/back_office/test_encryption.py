"""TLS from the command line: a gateway with certificates, commands that trust it, and what is told of missing parts."""

from __future__ import annotations

import dataclasses
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearing.postgres.embedded.server import EmbeddedPostgres
from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation
from tests.certificates import Authority, CertificateFiles, new_authority


@pytest.fixture
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        yield new_authority(Path(folder))


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[Installation]:
    """A founded alliance without a gateway, for all tests here."""
    name = f"test_{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        installed = Installation(
            Path(folder) / "home", settings={"CLEARING_DATABASE_URL": postgres.create_database(name)}
        )
        installed.done("init", ORIGIN, "--operator", "anna")
        yield installed
    postgres.drop_database(name)


@pytest.fixture
def founded(shared: Installation) -> Installation:
    """The same, with an address of the test's own."""
    return dataclasses.replace(shared)


def trusting(installed: Installation, authority: Authority, shown: CertificateFiles | None = None) -> Installation:
    """The same installation, whose commands connect with TLS and show this certificate."""
    settings = {**installed.settings, "CLEARING_TLS_CA": str(authority.file)}
    if shown is not None:
        settings["CLEARING_TLS_CLIENT_CERTIFICATE"] = str(shown.certificate)
        settings["CLEARING_TLS_CLIENT_KEY"] = str(shown.key)
    return dataclasses.replace(installed, settings=settings)


def test_commands_reach_a_gateway_with_mutual_tls_by_a_certificate_that_names_them(
    founded: Installation, authority: Authority
) -> None:
    gateway = authority.gateway()
    tls = ("--tls-certificate", str(gateway.certificate), "--tls-key", str(gateway.key))
    with founded.serving(*tls, "--tls-client-ca", str(authority.file)):
        staff = trusting(founded, authority, authority.client("anna", "urn:clearing:alliance"))
        staff.done("merchant", "admit", "bakery", "--name", "Corner Bakery Ltd")
        assert [each["merchant"] for each in staff.json("merchant", "list")] == ["bakery"]
        till = trusting(founded, authority, authority.client("till", "urn:clearing:merchant:bakery"))
        assert "CERTIFICATE_MISMATCH" in till.refused("merchant", "list")
        assert "no gateway answers" in trusting(founded, authority).refused("merchant", "list")
        assert "--tls-ca" in founded.refused("merchant", "list")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--tls-certificate", "{certificate}"), "--tls-key"),
        (("--tls-key", "{key}"), "--tls-certificate"),
        (("--tls-client-ca", "{ca}"), "--tls-certificate"),
        (("--tls-certificate", "{ca}", "--tls-key", "{key}"), "made together"),
        (("--tls-certificate", "{certificate}", "--tls-key", "{certificate}"), "chmod 600"),
        (("--tls-certificate", "nowhere.pem", "--tls-key", "{key}"), "there is no file nowhere.pem"),
        (("--tls-certificate", "{certificate}", "--tls-key", "{key}", "--insecure-plaintext"), "contradict"),
    ],
)
def test_a_gateway_that_cannot_encrypt_as_told_does_not_start(
    founded: Installation, authority: Authority, options: tuple[str, ...], told: str
) -> None:
    files = authority.gateway()
    names = {"certificate": files.certificate, "key": files.key, "ca": authority.file}
    files.certificate.chmod(0o644)
    assert told in founded.refused("gateway", *(option.format(**names) for option in options))


def test_plain_text_leaves_the_machine_only_if_told_so_and_with_a_warning(founded: Installation) -> None:
    assert "--insecure-plaintext" in founded.refused("gateway", "--address", "0.0.0.0:0")
    assert "CLEARING_INSECURE_PLAINTEXT" in founded.refused("--address", "192.0.2.1:7070", "merchant", "list")
    with founded.serving("--address", "0.0.0.0:0", "--insecure-plaintext") as process:
        founded.address = founded.address.replace("0.0.0.0", "127.0.0.1")
        founded.done("merchant", "list")
        process.terminate()
        assert process.wait() == 0
        assert process.stderr is not None
        assert "plain_text_leaves_this_machine" in process.stderr.read()


def test_a_client_certificate_needs_its_key_and_an_authority_to_trust(
    founded: Installation, authority: Authority
) -> None:
    shown = authority.client("anna", "urn:clearing:alliance")
    for settings, told in (
        ({"CLEARING_TLS_CLIENT_KEY": str(shown.key)}, "go together"),
        (
            {"CLEARING_TLS_CLIENT_KEY": str(shown.key), "CLEARING_TLS_CLIENT_CERTIFICATE": str(shown.certificate)},
            "--tls-ca",
        ),
        ({"CLEARING_TLS_CA": str(shown.key.with_name("none"))}, "there is no file"),
    ):
        other = dataclasses.replace(founded, settings={**founded.settings, **settings})
        assert told in other.refused("merchant", "list")
