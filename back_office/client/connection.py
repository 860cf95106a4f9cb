"""The way from a command to a running gateway."""

from __future__ import annotations

from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from back_office.client.encryption import channel_credentials_of
from back_office.client.home import home_of, signing_keys
from back_office.errors import BackOfficeError
from clearing.calendar import LocalCalendar
from clearing.contract.entry import instant_of
from clearing.contract.instruction import decode_offsets
from clearing.contract.log_identity import LogIdentity
from clearing.contract.receipt import Receipt, receipt_of
from clearing.model import Instant
from clearing.runtime.settings import Settings
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.instruction_pb2 import CreateAlliance
from clearing.v1.operations_pb2 import GetAllianceRequest, GetAllianceResponse, InstructRequest
from merchant_gateway.client.connection import WrongAllianceError
from merchant_gateway.client.gateway_channel import GatewayChannel
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.retry import RetryPolicy

RETRIES = RetryPolicy(deadline_seconds=60.0, attempt_seconds=30.0)
FIRST_CALL_SECONDS = 10.0
"""For one attempt: a command says at once if there is no gateway, rather than try for a minute."""


class GatewayConnection(GatewayChannel):
    """A channel to the gateway that the settings name, which is there and of the home folder's alliance."""

    def __init__(self, settings: Settings) -> None:
        """Ask the gateway for its alliance, once.

        Raises ``BackOfficeError`` or ``WrongAllianceError``.
        """
        self.alliance: LogIdentity = home_of(settings).alliance()
        super().__init__(
            settings.address,
            self.alliance.origin,
            credentials=channel_credentials_of(settings),
            insecure_plaintext=settings.insecure_plaintext,
            retry=RETRIES,
        )
        self.settings = settings
        try:
            self.answer = self._first_answer()
        except BaseException:
            self.close()
            raise
        self.ledger_time = instant_of(self.answer.accepted_at)
        """The time of the newest entry that is known here."""

    def heard_of(self, accepted_at: Instant) -> None:
        """An entry of this time is in the log."""
        self.ledger_time = max(self.ledger_time, accepted_at)

    @property
    def constitution(self) -> CreateAlliance:
        """The alliance's constitution, as the gateway says."""
        return self.answer.constitution

    @property
    def calendar(self) -> LocalCalendar:
        """The alliance's days and months by the logged offsets, as the gateway says."""
        return LocalCalendar(decode_offsets(self.answer.zone_offsets))

    def is_serving(self) -> bool:
        """Whether the gateway says that it is of use to send calls to it (grpc.health.v1)."""
        try:
            answer = HealthStub(self._channel).Check(HealthCheckRequest(), timeout=FIRST_CALL_SECONDS)
        except grpc.RpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)

    def instruct(self, envelope: Envelope) -> Receipt:
        """Send a signed instruction; the receipt is not verified yet. Raises ``GatewayError``."""
        return receipt_of(self.call(self.operations.Instruct, InstructRequest(envelope=envelope)).receipt)

    def _first_answer(self) -> GetAllianceResponse:
        try:
            answer = self.call_once(self.operations.GetAlliance, GetAllianceRequest(), None, FIRST_CALL_SECONDS)
        except GatewayError as error:
            if error.code is not grpc.StatusCode.UNAVAILABLE or error.reason is not None:
                raise
            how = (
                "and shows a certificate that CLEARING_TLS_CA signed"
                if self.settings.tls_ca is not None
                else "in plain text; one that speaks TLS is reached with --tls-ca"
            )
            raise BackOfficeError(
                f"no gateway answers at {self.address} {how}; start it with: clearing gateway, or name another with "
                "--address or CLEARING_ADDRESS"
            ) from None
        if answer.origin != self.alliance.origin:
            raise WrongAllianceError(
                f"the gateway at {self.address} is of the alliance {answer.origin}, and the home folder "
                f"{self.settings.home} of {self.alliance.origin}; choose another --address or --home"
            )
        if answer.log_id != self.alliance.log_id:
            raise WrongAllianceError(
                f"the gateway at {self.address} has the log {answer.log_id.hex()}, and alliance.json in the home "
                f"folder {self.settings.home} names {self.alliance.log_id.hex()}: {answer.origin} was founded anew; "
                "copy alliance.json from the operator's home again, or choose another --address or --home"
            )
        return answer


def reader(settings: Settings, key_file: Path | None) -> PrivateKey:
    """The key whose holder reads."""
    (key,) = signing_keys(settings, [key_file] if key_file is not None else None)
    return key
