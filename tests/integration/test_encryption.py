"""TLS on the wire: who gets a connection, and for whom it counts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from back_office.host.assembly import Gateway
from clearing.calendar import moment_of
from clearing.card_token import random_token
from clearing.errors import ErrorReason
from clearing.model import MerchantId, Outcome
from clearing.runtime.addresses import AddressError, is_loopback
from clearing.signing.keys import PrivateKey
from clearing.v1.audit_pb2 import GetCheckpointRequest
from clearing.v1.instruction_pb2 import ROLE_MERCHANT, OpenStore, RegisterKey
from clearing.v1.merchant_gateway_pb2 import SubmitRequest
from clearing.v1.operations_pb2 import GetAllianceRequest, InstructRequest
from merchant_gateway.client.gateway_channel import GatewayChannel
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.tls import channel_credentials, server_credentials
from merchant_gateway.client.transactions import earn, open_card
from merchant_gateway.server.access import Access
from merchant_gateway.server.server import GatewayServer
from tests.certificates import DAY, NOW, Authority, CertificateFiles, new_authority
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, ORIGIN, Alliance
from tests.integration.bad_scene import Scene

BAKERY = "urn:clearing:merchant:bakery"
CINEMA = "urn:clearing:merchant:cinema"
STAFF = "urn:clearing:alliance"


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        yield new_authority(Path(folder))


def served(alliance: Alliance, authority: Authority, *, mutual: bool) -> Gateway:
    """The alliance's gateway, over TLS from now on."""
    files = authority.gateway(f"gateway-{mutual}")
    credentials = server_credentials(files.certificate, files.key, authority.file if mutual else None)
    alliance.reopen(Access(credentials=credentials, client_certificates=mutual))
    return alliance.gateway


@pytest.fixture(scope="module")
def mutual(scene: Scene, authority: Authority) -> Scene:
    """The scene, whose gateway asks for certificates."""
    served(scene.alliance, authority, mutual=True)
    return scene


def channel(
    scene: Scene, authority: Authority, files: CertificateFiles | None = None, trusted: Authority | None = None
) -> GatewayChannel:
    ca = (trusted or authority).file
    credentials = channel_credentials(ca, *files) if files is not None else channel_credentials(ca)
    address = scene.alliance.gateway.server.address
    return GatewayChannel(address, ORIGIN, credentials=credentials)


def client(scene: Scene, credentials: grpc.ChannelCredentials, merchant: str) -> MerchantClient:
    return MerchantClient(
        scene.alliance.gateway.server.address,
        scene.alliance.identity,
        MerchantId(merchant),
        scene.alliance.keys[merchant],
        credentials=credentials,
    )


def present(scene: Scene, credentials: grpc.ChannelCredentials, merchant: str) -> tuple[Outcome, ...]:
    """A card opened and read, over this connection."""
    card, moment = random_token(), moment_of(scene.alliance.now)
    with client(scene, credentials, merchant) as system:
        receipts = system.submit(
            [
                open_card(f"open-{card}", card, f"{merchant}-1", moment),
                earn(f"earn-{card}", card, f"{merchant}-1", 5, moment),
            ],
            presented_at=moment,
        )
        assert system.card(card).points_available == 5
    return tuple(receipt.outcome for receipt in receipts)


def log_size(scene: Scene) -> int:
    head = scene.alliance.gateway.writer.head
    assert head is not None
    return head.size


def refused(call: Callable[..., object], *arguments: object) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        call(*arguments)
    return raised.value


def test_a_merchant_with_its_own_certificate_is_served(mutual: Scene, authority: Authority) -> None:
    for name, uris in (("bakery-till", (BAKERY,)), ("forwarder", (CINEMA, BAKERY))):
        credentials = channel_credentials(authority.file, *authority.client(name, *uris))
        assert present(mutual, credentials, "bakery") == (Outcome.ACCEPTED, Outcome.ACCEPTED)


def test_a_certificate_that_does_not_name_the_merchant_neither_presents_nor_reads(
    mutual: Scene, authority: Authority
) -> None:
    wrong = [
        authority.client("of-cinema", CINEMA),
        authority.client("of-nobody"),
        authority.client("of-alliance", STAFF),
        authority.client("longer", BAKERY + "-2"),
        authority.client("other-case", "urn:clearing:merchant:BAKERY"),
        authority.dns_client("host", BAKERY),
        authority.dns_client(BAKERY, "bakery"),
    ]
    size = log_size(mutual)
    submission = SubmitRequest(envelopes=[mutual.earn_by(mutual.bakery)])
    for files in wrong:
        with channel(mutual, authority, files) as gateway:
            submit = refused(gateway.call, gateway.gateway.Submit, submission)
            read = refused(gateway.call, gateway.audit.GetCheckpoint, GetCheckpointRequest(), mutual.bakery)
        for error in (submit, read):
            assert error.reason is ErrorReason.CERTIFICATE_MISMATCH
            assert error.code is grpc.StatusCode.PERMISSION_DENIED
        assert submit.envelope_index == 0
    assert log_size(mutual) == size


def test_the_alliances_people_need_the_alliances_certificate(mutual: Scene, authority: Authority) -> None:
    open_store = InstructRequest(
        envelope=mutual.instructed(open_store=OpenStore(merchant="bakery", store="bakery-tls"))
    )
    for role, key in (("operator", mutual.operator), ("finance", mutual.finance)):
        with channel(mutual, authority, authority.client(f"{role}-over-bakery", BAKERY)) as gateway:
            read = refused(gateway.call, gateway.audit.GetCheckpoint, GetCheckpointRequest(), key)
            instruct = refused(gateway.call, gateway.operations.Instruct, open_store)
        assert read.reason is instruct.reason is ErrorReason.CERTIFICATE_MISMATCH
        with channel(mutual, authority, authority.client(f"{role}-over-own", STAFF)) as gateway:
            assert gateway.call(gateway.audit.GetCheckpoint, GetCheckpointRequest(), key).checkpoint
            assert gateway.call(gateway.operations.Instruct, open_store).receipt.entry


def test_an_office_instructs_over_its_merchants_certificate(mutual: Scene, authority: Authority) -> None:
    till = PrivateKey.generate()
    registration = RegisterKey(
        public_key=till.public_key, role=ROLE_MERCHANT, merchant="cinema", holder="cinema-till-2"
    )
    register = InstructRequest(
        envelope=mutual.instructed(mutual.office, till, register_key=registration, merchant="cinema")
    )
    for name, uri in (("office-over-alliances", STAFF), ("office-over-bakerys", BAKERY)):
        with channel(mutual, authority, authority.client(name, uri)) as gateway:
            error = refused(gateway.call, gateway.operations.Instruct, register)
        assert error.reason is ErrorReason.CERTIFICATE_MISMATCH
    with channel(mutual, authority, authority.client("office-over-own", CINEMA)) as gateway:
        assert gateway.call(gateway.operations.Instruct, register).receipt.entry


def test_a_certificate_opens_nothing_without_a_registered_key(mutual: Scene, authority: Authority) -> None:
    with channel(mutual, authority, authority.client("thief", BAKERY)) as gateway:
        read = refused(gateway.call, gateway.audit.GetCheckpoint, GetCheckpointRequest(), mutual.stranger)
    assert read.reason is ErrorReason.UNKNOWN_KEY


def test_whoever_has_no_certificate_of_the_authority_gets_no_connection(
    mutual: Scene, authority: Authority, tmp_path: Path
) -> None:
    foreign = new_authority(tmp_path, "foreign")
    expired = authority.client("expired", BAKERY, begins=NOW - 2 * DAY, ends=NOW - DAY)
    files = (None, foreign.client("foreign-bakery", BAKERY))
    for shown in files:
        with channel(mutual, authority, shown) as gateway:
            _no_connection(gateway)
    # Our own client would not even start with an expired certificate; another's might.
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(), expired.key.read_bytes(), expired.certificate.read_bytes()
    )
    address = mutual.alliance.gateway.server.address
    with GatewayChannel(address, ORIGIN, credentials=credentials) as gateway:
        _no_connection(gateway)
    with GatewayChannel(address, ORIGIN) as gateway:
        _no_connection(gateway)


def test_a_client_talks_only_to_the_gateway_that_its_authority_signed(
    mutual: Scene, authority: Authority, tmp_path: Path
) -> None:
    bakery = authority.client("bakery-again", BAKERY)
    with channel(mutual, authority, bakery, trusted=new_authority(tmp_path, "other")) as gateway:
        _no_connection(gateway)


def _no_connection(gateway: GatewayChannel) -> None:
    alliance = gateway.operations.GetAlliance
    error = refused(gateway.call_once, alliance, GetAllianceRequest(), None, CALL_TIMEOUT_SECONDS)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, None)


def test_without_a_client_authority_tls_encrypts_and_asks_for_no_certificate(
    alliance: Alliance, authority: Authority
) -> None:
    gateway = served(alliance, authority, mutual=False)
    credentials = channel_credentials(authority.file)
    with GatewayChannel(gateway.server.address, ORIGIN, credentials=credentials) as system:
        answer = system.call(system.audit.GetCheckpoint, GetCheckpointRequest(), alliance.keys["bakery"])
    assert answer.checkpoint.startswith(ORIGIN)


# ---- plain text ----


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "clearing.example", "localhost.example"])
def test_plain_text_stays_on_loopback_unless_told_otherwise(host: str) -> None:
    with pytest.raises(AddressError, match="--insecure-plaintext"):
        GatewayServer(f"{host}:0", ())
    with pytest.raises(AddressError, match="--insecure-plaintext"):
        GatewayChannel(f"{host}:7070", ORIGIN)
    GatewayChannel(f"{host}:7070", ORIGIN, insecure_plaintext=True).close()


def test_told_so_the_gateway_serves_plain_text_on_every_address() -> None:
    server = GatewayServer("0.0.0.0:0", (), insecure_plaintext=True)
    server.start()
    server.stop()


def test_loopback_is_told_by_the_address_not_by_a_name_server() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "[::]", "127.0.0.1.example", "localhost."]))
    for text in ("7070", "host:", ":7070", "host:port", "127.0.0.1:70700", ""):
        with pytest.raises(AddressError, match="is no address"):
            GatewayChannel(text, ORIGIN)
