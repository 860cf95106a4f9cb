"""The way from a command to a running gateway."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from clearing.cli.home import Alliance, home_of, signing_keys
from clearing.clock import system_time
from clearing.errors import ClearingError
from clearing.keys import PrivateKey
from clearing.receipt import Receipt, receipt_of
from clearing.settings import Settings
from clearing.tokens import make_token
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.instruction_pb2 import CreateAlliance
from clearing.v1.operations_pb2 import GetAllianceRequest, GetAllianceResponse, InstructRequest
from clearing.v1.operations_pb2_grpc import OperationsStub
from clearing.v1.settlement_pb2_grpc import SettlementStub
from merchant_gateway.gateway_error import GatewayError, gateway_error_of
from merchant_gateway.retry import RetryPolicy, call_with_retries

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

RETRIES = RetryPolicy(deadline_seconds=60.0, attempt_seconds=30.0)
FIRST_CALL_SECONDS = 10.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""A workbook may be larger than gRPC's usual limit of 4 MiB a message."""


class NoGatewayError(ClearingError):
    """Nothing answers at the gateway's address."""


class WrongAllianceError(ClearingError):
    """The gateway is another alliance's than the home folder."""


class GatewayConnection:
    """A channel to the gateway that the settings name, which is there and of the home folder's alliance."""

    def __init__(self, settings: Settings) -> None:
        """Ask the gateway for its alliance, once, so that a command says at once if there is none.

        Raises ``NoGatewayError``, ``WrongAllianceError`` or ``HomeError``.
        """
        self.settings = settings
        self.alliance: Alliance = home_of(settings).alliance()
        size = ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)
        self.channel = grpc.insecure_channel(settings.address, options=(size,))
        self.operations = OperationsStub(self.channel)
        self.settlement = SettlementStub(self.channel)
        try:
            self.answer = self._first_answer()
        except BaseException:
            self.close()
            raise

    @property
    def constitution(self) -> CreateAlliance:
        """The alliance's constitution, as the gateway says."""
        return self.answer.constitution

    def _first_answer(self) -> GetAllianceResponse:
        try:
            answer = self._attempt(self.operations.GetAlliance, GetAllianceRequest(), None, FIRST_CALL_SECONDS)
        except GatewayError as error:
            if error.code is not grpc.StatusCode.UNAVAILABLE or error.reason is not None:
                raise
            raise NoGatewayError(
                f"no gateway answers at {self.settings.address}; start it with: clearing gateway, or name another with "
                "--address or CLEARING_ADDRESS"
            ) from None
        if answer.origin != self.alliance.origin:
            raise WrongAllianceError(
                f"the gateway at {self.settings.address} is of the alliance {answer.origin}, and the home folder "
                f"{self.settings.home} of {self.alliance.origin}; choose another --address or --home"
            )
        return answer

    def read(
        self, method: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT], request: RequestT, key: PrivateKey
    ) -> ResponseT:
        """Call a method that takes a token; ``key`` signs it. Raises ``GatewayError``."""

        def attempt(timeout_seconds: float) -> ResponseT:
            token = make_token(key, self.alliance.origin, system_time())
            return self._attempt(method, request, token, timeout_seconds)

        return call_with_retries(attempt, RETRIES)

    def instruct(self, envelope: Envelope) -> Receipt:
        """Send a signed instruction; the receipt is not verified yet. Raises ``GatewayError``."""
        request = InstructRequest(envelope=envelope)

        def attempt(timeout_seconds: float) -> Receipt:
            response = self._attempt(self.operations.Instruct, request, None, timeout_seconds)
            return receipt_of(response.receipt)

        return call_with_retries(attempt, RETRIES)

    def _attempt(
        self,
        method: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        token: str | None,
        timeout_seconds: float,
    ) -> ResponseT:
        metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
        try:
            return method(request, timeout=timeout_seconds, metadata=metadata)
        except grpc.RpcError as error:
            raise gateway_error_of(error, self.settings.address) from None

    def close(self) -> None:
        """Hang up."""
        self.channel.close()

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hang up."""
        self.close()


def reader(settings: Settings, key_file: Path | None) -> PrivateKey:
    """The key whose holder reads."""
    (key,) = signing_keys(settings, [key_file] if key_file is not None else None)
    return key
