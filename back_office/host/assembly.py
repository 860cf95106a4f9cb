"""Puts the parts together: database, writer and services make a gateway."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import sqlalchemy

from clearing.clock import WallClock, system_time
from clearing.log.note import Signer
from clearing.postgres.writing.recorder import Recorder
from clearing.postgres.writing.writer_lock import WriterLock
from clearing.runtime.metrics import NO_METRICS, Metrics
from clearing.signing.keys import leading_that_hold
from clearing.v1.audit_pb2_grpc import add_AuditServicer_to_server
from clearing.v1.merchant_gateway_pb2_grpc import add_MerchantGatewayServicer_to_server
from clearing.v1.operations_pb2_grpc import add_OperationsServicer_to_server
from clearing.v1.settlement_pb2_grpc import add_SettlementServicer_to_server
from clearing.writer.writer import Writer
from merchant_gateway.server.access import Access
from merchant_gateway.server.audit import Audit
from merchant_gateway.server.authentication import Authenticator, LeadingThatHold
from merchant_gateway.server.call_report import CallReport
from merchant_gateway.server.calls import caller_of
from merchant_gateway.server.certificates import Certificates
from merchant_gateway.server.decided_before import DecidedBefore
from merchant_gateway.server.limits import RateLimiter
from merchant_gateway.server.operations import Operations
from merchant_gateway.server.server import GatewayServer
from merchant_gateway.server.service import MerchantGateway
from settlement.serving.from_store import Settlements, StoredSettlements
from settlement.serving.judged_settlements import JudgedSettlements
from settlement.serving.service import SettlementService


class Gateway:
    """A writer and the server in front of it."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        log_signer: Signer,
        address: str,
        *,
        wall_clock: WallClock = system_time,
        reflect: bool = False,
        access: Access | None = None,
        metrics: Metrics = NO_METRICS,
        lock: WriterLock | None = None,
        recorder: Recorder | None = None,
        settlements: Settlements | None = None,
        leading_that_hold: LeadingThatHold = leading_that_hold,
    ) -> None:
        """Take up the log in the database, which is migrated, and listen; ``start`` serves.

        Without ``access`` it is for loopback only; ``lock`` is the writer's lock where it is held already,
        ``recorder`` commits batches and ``settlements`` settles windows where that is not to be done from this process,
        and ``leading_that_hold`` says of many signatures how many hold, from the first on. Raises what ``Writer`` and
        ``GatewayServer`` raise.
        """
        access = access if access is not None else Access()
        self.settlements = JudgedSettlements(settlements if settlements is not None else StoredSettlements(engine))
        self.writer = Writer(
            engine, log_signer, wall_clock, metrics, lock, recorder, settlement_of=self.settlements.settlement_of
        )
        authenticator = Authenticator(
            self.writer,
            wall_clock,
            certificates=Certificates(required=access.client_certificates),
            limiter=RateLimiter(access.limits),
            decided_before=DecidedBefore(engine),
            leading_that_hold=leading_that_hold,
        )
        settlement = SettlementService(
            self.writer, engine, self.settlements, lambda context: caller_of(context, authenticator)
        )
        try:
            self.server = GatewayServer(
                address,
                (
                    lambda server: add_MerchantGatewayServicer_to_server(
                        MerchantGateway(self.writer, engine, authenticator), server
                    ),
                    lambda server: add_OperationsServicer_to_server(
                        Operations(self.writer, engine, authenticator), server
                    ),
                    lambda server: add_SettlementServicer_to_server(settlement, server),
                    lambda server: add_AuditServicer_to_server(Audit(self.writer, engine, authenticator), server),
                ),
                credentials=access.credentials,
                insecure_plaintext=access.insecure_plaintext,
                reflect=reflect,
                is_able=self.writer.is_able,
                report=CallReport(metrics, lambda: self.writer.directory),
            )
        except BaseException:
            self.writer.close()
            raise

    def start(self) -> None:
        """Serve, and compute what closed windows settle to."""
        self.settlements.watch(lambda: self.writer.directory)
        self.server.start()

    def announce_stop(self) -> None:
        """Have health say that this gateway ends, and turn new calls away by name; those under way go on."""
        self.server.announce_stop()
        self.writer.take_no_more()

    def stop(self) -> None:
        """Let calls under way finish, then give the log back."""
        self.server.stop()
        self.settlements.close()
        self.writer.close()

    def __enter__(self) -> Self:
        """Serve until the block is left."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, whatever happened."""
        self.stop()
