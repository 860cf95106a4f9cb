"""A whole clearing house for a test: a real gateway on loopback over a real PostgreSQL, and its members' keys."""

from __future__ import annotations

import datetime
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import sqlalchemy

from back_office.host.assembly import Gateway
from clearing.calendar import instant_of
from clearing.card_token import random_token
from clearing.clock import system_time
from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.contract.entry import Entry, decode_entry, timestamp_of
from clearing.contract.entry import instant_of as timestamp_instant
from clearing.contract.log_identity import LogIdentity
from clearing.contract.receipt import receipt_of, verify_receipt
from clearing.log.note import Signer
from clearing.model import MICROSECONDS_PER_DAY, CardToken, Instant, Outcome, TransactionResult
from clearing.postgres.database import open_engine
from clearing.postgres.migration import migrate
from clearing.postgres.writing.writer_lock import WriterLockHeldError
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.signing.tokens import make_token
from clearing.v1 import (
    entry_pb2,
    instruction_pb2,
    merchant_gateway_pb2,
    operations_pb2,
    presentment_pb2,
    settlement_pb2,
)
from clearing.v1.audit_pb2_grpc import AuditStub
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2_grpc import MerchantGatewayStub
from clearing.v1.operations_pb2_grpc import OperationsStub
from clearing.v1.settlement_pb2_grpc import SettlementStub
from merchant_gateway.client.gateway_channel import GatewayChannel
from merchant_gateway.client.log_export import LogExporter
from merchant_gateway.server.access import Access
from tests.integration.observation import refusal_of
from tests.waiting import PATIENCE_SECONDS
from tests.zones import offsets_of

ORIGIN = "clearing.example/test"
TIME_ZONE = "Europe/Berlin"
CALL_TIMEOUT_SECONDS = PATIENCE_SECONDS


def local_instant(text: str) -> Instant:
    """The instant of a local time in the test alliance, such as ``2026-01-31 23:59:59``."""
    from zoneinfo import ZoneInfo

    return instant_of(datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TIME_ZONE)))


class Alliance:
    """A founded alliance and the stubs to call it."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        *,
        clock: str = "CLOCK_PRESENTED",
        founded_at: str = "2026-01-02 09:00:00",
        founded_days_ago: int = 0,
        origin: str = ORIGIN,
        **constitution: Any,
    ) -> None:
        """Found it: under the presented clock at ``founded_at``, else so many days ago, by the gateway's clock then."""
        self.engine = engine
        self.origin = origin
        self.log_key = Signer(origin, PrivateKey.generate().seed)
        self.operator = PrivateKey.generate()
        self.second_operator = PrivateKey.generate()
        self.keys: dict[str, PrivateKey] = {}
        self.now = local_instant(founded_at) if clock == "CLOCK_PRESENTED" else system_time()
        self._clock = clock
        self._behind = founded_days_ago * MICROSECONDS_PER_DAY
        self._numbers = itertools.count(1)
        self.log_id = b""
        self.open()
        self._found(constitution)
        self._behind = 0

    def wall_clock(self) -> Instant:
        """The clock of the gateway's machine, and of who signs."""
        return Instant(system_time() - self._behind)

    def open(self, access: Access | None = None) -> None:
        """Start a gateway; after ``close``, another one on the same log."""
        self.gateway = Gateway(self.engine, self.log_key, "127.0.0.1:0", wall_clock=self.wall_clock, access=access)
        self.gateway.start()
        self.call(self.gateway.server.address)

    def reopen(self, access: Access) -> None:
        """Go on with a gateway that lets these in."""
        self.close()
        deadline = time.monotonic() + CALL_TIMEOUT_SECONDS
        while True:
            try:
                return self.open(access)
            except WriterLockHeldError:
                # The database has not noticed yet that the one before is gone.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def call(self, address: str) -> None:
        """Call the gateway at this address from now on."""
        self.channel = grpc.insecure_channel(address)
        self.merchants = MerchantGatewayStub(self.channel)
        self.operations = OperationsStub(self.channel)
        self.settlement = SettlementStub(self.channel)
        self.audit = AuditStub(self.channel)

    @property
    def identity(self) -> LogIdentity:
        """What the alliance gives to everybody."""
        return LogIdentity(self.log_key.verifier, self.log_id)

    def close(self) -> None:
        """Stop the gateway."""
        self.channel.close()
        self.gateway.stop()

    def _found(self, constitution: dict[str, Any]) -> None:
        operators = [self.operator, self.second_operator]
        founding: dict[str, Any] = {
            "unit": "PTS",
            "currency": "EUR",
            "currency_decimals": 2,
            "time_zone": TIME_ZONE,
            "zone_offsets": instruction_contract.encode_offsets(offsets_of(TIME_ZONE)),
            "settlement_method": "SETTLEMENT_METHOD_ISSUER_PAYS",
            "clock": self._clock,
            "log_verifier": self.log_key.vkey,
            "operator_keys": [
                instruction_pb2.RegisterKey(
                    public_key=key.public_key, role=instruction_pb2.ROLE_OPERATOR, holder=f"operator-{number}"
                )
                for number, key in enumerate(operators, 1)
            ],
            "lot_lifetime_months": 12,
            "late_presentment_days": 7,
            "issuance_price": "0.0100",
            "redemption_price": "0.0090",
            "rules_version": 1,
            "settlement_version": 1,
        }
        founding.update(constitution)
        self.accept(create_alliance=instruction_pb2.CreateAlliance(**founding), signers=operators)
        self.log_id = self.gateway.writer.directory.log_id if self.gateway.writer.directory is not None else b""

    # ---- instructions ----

    def instruction(
        self,
        *,
        reference: str | None = None,
        issued_at: Instant | None = None,
        log_id: bytes | None = None,
        expires_at: Instant | None = None,
        **action: Any,
    ) -> bytes:
        """The payload of an instruction."""
        at = issued_at or self.time()
        message = instruction_pb2.Instruction(
            origin=self.origin,
            issued_at=timestamp_of(at),
            reference=reference or f"instruction-{next(self._numbers)}",
            log_id=b"" if "create_alliance" in action else self.log_id if log_id is None else log_id,
            **action,
        )
        if "create_alliance" not in action:
            message.expires_at.CopyFrom(timestamp_of(expires_at or Instant(at + MICROSECONDS_PER_DAY)))
        return message.SerializeToString()

    def instruct(
        self, *, signers: Sequence[PrivateKey] | None = None, reference: str | None = None, **action: Any
    ) -> Entry:
        """The entry an instruction came to, its receipt verified."""
        payload = self.instruction(reference=reference, **action)
        envelope = sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, signers or [self.operator])
        request = operations_pb2.InstructRequest(envelope=envelope)
        deadline = time.monotonic() + CALL_TIMEOUT_SECONDS
        while True:
            try:
                return self.verified(self.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS).receipt)
            except grpc.RpcError as error:
                # As every client does: what a window settles to is being computed, after a start too.
                if refusal_of(error).reason != "SETTLEMENT_NOT_READY" or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def accept(self, *, signers: Sequence[PrivateKey] | None = None, **action: Any) -> Entry:
        """The entry of an instruction that must be accepted."""
        entry = self.instruct(signers=signers, **action)
        assert entry.instruction_result is not None
        assert entry.instruction_result.outcome is Outcome.ACCEPTED, entry.instruction_result
        return entry

    def admit(self, *merchants: str) -> None:
        """Members with a key each and one store of their own name and a 1."""
        for merchant in merchants:
            key = PrivateKey.generate()
            self.keys[merchant] = key
            self.accept(admit_merchant=instruction_pb2.AdmitMerchant(merchant=merchant, legal_name=merchant.title()))
            self.accept(open_store=instruction_pb2.OpenStore(merchant=merchant, store=f"{merchant}-1"))
            self.register(key, "ROLE_MERCHANT", merchant=merchant, holder=f"{merchant}-till")

    def register(self, key: PrivateKey, role: str, *, holder: str, **registration: Any) -> None:
        """One more key, which signs too."""
        action = instruction_pb2.RegisterKey(
            public_key=key.public_key, role=instruction_pb2.Role.Value(role), holder=holder, **registration
        )
        self.accept(signers=[self.operator, key], register_key=action)

    # ---- transactions ----

    def time(self) -> Instant:
        """When things are signed:

        under the presented clock the test's own time, which moves on by a second each time.
        """
        if self._clock != "CLOCK_PRESENTED":
            return self.wall_clock()
        self.now = Instant(self.now + 1_000_000)
        return self.now

    def travel(self, local_time: str) -> None:
        """Go on from a later local time."""
        self.now = local_instant(local_time)

    def transaction(
        self, merchant: str, card: str, *, reference: str | None = None, **fields: Any
    ) -> presentment_pb2.Transaction:
        """A transaction at the merchant's first store, now."""
        values: dict[str, Any] = {
            "reference": reference or f"t-{next(self._numbers)}",
            "card_token": card,
            "store": f"{merchant}-1",
            "occurred_at": timestamp_of(self.now if self._clock == "CLOCK_PRESENTED" else system_time()),
            "channel": presentment_pb2.CHANNEL_TILL,
        }
        return presentment_pb2.Transaction(**(values | fields))

    def presentment(
        self, merchant: str, *transactions: presentment_pb2.Transaction, **fields: Any
    ) -> presentment_pb2.Presentment:
        """An unsigned presentment."""
        values: dict[str, Any] = {
            "origin": self.origin,
            "log_id": self.log_id,
            "merchant": merchant,
            "presented_at": timestamp_of(self.time()),
            "transactions": transactions,
        }
        return presentment_pb2.Presentment(**(values | fields))

    def envelope(self, presentment: presentment_pb2.Presentment, *signers: PrivateKey) -> Envelope:
        """The presentment signed, by its merchant's key unless other signers are given."""
        payload = presentment.SerializeToString()
        keys = signers or (self.keys[presentment.merchant],)
        return sign_envelope(payload, presentment_contract.PAYLOAD_TYPE, keys)

    def submit(self, *envelopes: Envelope) -> list[entry_pb2.Receipt]:
        """The receipts of a call, verified."""
        request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes)
        receipts = list(self.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS).receipts)
        for receipt in receipts:
            self.verified(receipt)
        return receipts

    def present(
        self, merchant: str, *transactions: presentment_pb2.Transaction, atomic: bool = False
    ) -> tuple[TransactionResult, ...]:
        """What the transactions came to."""
        envelope = self.envelope(self.presentment(merchant, *transactions, atomic=atomic))
        (receipt,) = self.submit(envelope)
        return decode_entry(receipt.entry).transaction_results

    def open_card(self, merchant: str) -> CardToken:
        """A new card."""
        card = random_token()
        (result,) = self.present(merchant, self.transaction(merchant, card, open_card=presentment_pb2.OpenCard()))
        assert result.outcome is Outcome.ACCEPTED
        return card

    def earn(self, merchant: str, card: str, points: int, **fields: Any) -> TransactionResult:
        """Points issued."""
        earn = presentment_pb2.Earn(points=points)
        return self.present(merchant, self.transaction(merchant, card, earn=earn, **fields))[0]

    def burn(self, merchant: str, card: str, points: int, **fields: Any) -> TransactionResult:
        """Points redeemed."""
        burn = presentment_pb2.Burn(points=points)
        return self.present(merchant, self.transaction(merchant, card, burn=burn, **fields))[0]

    def refund(
        self, merchant: str, card: str, original: str, points: int | None = None, **fields: Any
    ) -> TransactionResult:
        """An earn or burn taken back."""
        refund = presentment_pb2.Refund(original_reference=original, points=points)
        return self.present(merchant, self.transaction(merchant, card, refund=refund, **fields))[0]

    # ---- reading ----

    def export(self, folder: Path) -> None:
        """The log and the proposed statements, as an auditor gets them."""
        with GatewayChannel(self.gateway.server.address, ORIGIN) as channel:
            LogExporter(channel, self.log_key.verifier, self.operator).export(folder)

    def authorization(self, key: PrivateKey) -> tuple[tuple[str, str], ...]:
        """The metadata of a read by this key's owner."""
        token = make_token(key, self.origin, system_time())
        return (("authorization", f"Bearer {token}"),)

    def log_size(self) -> int:
        """Number of entries."""
        return self.operations.GetAlliance(operations_pb2.GetAllianceRequest()).log_size

    def ledger_time(self) -> Instant:
        """The time of the newest entry."""
        return timestamp_instant(self.operations.GetAlliance(operations_pb2.GetAllianceRequest()).accepted_at)

    def statement(self, window: str, merchant: str = "") -> dict[str, Any]:
        """A closed window's statement."""
        request = settlement_pb2.GetStatementRequest(window=window, merchant=merchant)
        answer = self.settlement.GetStatement(request, metadata=self.authorization(self.operator))
        statement: dict[str, Any] = json.loads(answer.content)
        return statement

    def verified(self, receipt: entry_pb2.Receipt) -> Entry:
        """The receipt's entry, if the receipt proves it."""
        verify_receipt(receipt_of(receipt), self.log_key.verifier)
        return decode_entry(receipt.entry)


@contextmanager
def founded(database_url: str, **options: Any) -> Iterator[Alliance]:
    """A founded alliance on an empty database; stopped afterwards."""
    engine = open_engine(database_url)
    migrate(engine)
    alliance = Alliance(engine, **options)
    try:
        yield alliance
    finally:
        alliance.close()
        engine.dispose()
