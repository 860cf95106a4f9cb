"""A connection to an alliance's gateway whose answers are checked.

Whoever speaks for a merchant uses ``MerchantClient``; this is what several merchants' systems in one program can share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from clearing.calendar import LocalCalendar
from clearing.clock import WallClock, system_time
from clearing.contract.entry import instant_of
from clearing.contract.instruction import decode_offsets
from clearing.contract.log_identity import LogIdentity
from clearing.contract.receipt import receipt_of
from clearing.errors import ClearingError
from clearing.log.checkpoint import open_checkpoint
from clearing.log.note import NoteError
from clearing.model import ClockKind, Instant, MerchantId, Reference, StoreId
from clearing.signing.keys import PrivateKey
from clearing.v1.audit_pb2 import GetCheckpointRequest, GetConsistencyProofRequest
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2 import GetTransactionRequest, SubmitRequest
from clearing.v1.operations_pb2 import GetAllianceRequest, ListMerchantsRequest
from merchant_gateway.client.gateway_channel import GatewayChannel
from merchant_gateway.client.receipt_check import ForkedLogError, ReceiptError
from merchant_gateway.client.receipt_store import ReceiptStore
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.seen_log import SeenLog
from merchant_gateway.client.transaction_receipt import TransactionReceipt, check_recorded, check_submitted


class WrongAllianceError(ClearingError):
    """The gateway is another alliance's."""


@dataclass(frozen=True, slots=True)
class Alliance:
    """What a merchant's system needs to know of its alliance."""

    currency: str
    currency_decimals: int
    calendar: LocalCalendar
    """Days and months by the offsets that are logged."""
    clock: ClockKind
    late_presentment_days: int
    accepted_at: Instant
    """The ledger's time: that of its newest entry."""
    log_size: int


class MerchantConnection(GatewayChannel):
    """A channel to a gateway whose answers are checked against the alliance's key."""

    def __init__(
        self,
        address: str,
        log: LogIdentity,
        *,
        receipts: ReceiptStore | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        insecure_plaintext: bool = False,
        retry: RetryPolicy | None = None,
        wall_clock: WallClock = system_time,
    ) -> None:
        """All but these as for ``GatewayChannel``.

        ``log`` is what the alliance gave out (``alliance.json``), got from the alliance, not from the gateway.
        ``receipts`` keeps what is answered, and remembers the log from one run to the next; without, nothing is kept.
        """
        super().__init__(
            address,
            log.origin,
            credentials=credentials,
            insecure_plaintext=insecure_plaintext,
            retry=retry,
            wall_clock=wall_clock,
        )
        self.log = log
        self._verifier = log.verifier
        self._receipts = receipts
        self._seen = SeenLog()
        remembered = receipts.newest_checkpoint() if receipts is not None else None
        if remembered is not None:
            self._seen.see(open_checkpoint(remembered, log.verifier), remembered)

    def submit(
        self, envelopes: Sequence[Envelope], *, attempt_seconds: float | None = None
    ) -> list[list[TransactionReceipt]]:
        """Present signed envelopes, in one call; for each, what its transactions came to, verified and kept.

        Safe to call again with the same envelopes, also in another run: what was decided before is answered as it was.
        ``attempt_seconds``: one attempt of at most so long, for callers who themselves know when to send again.
        Raises ``GatewayError`` if the gateway turned the call away or stayed out of reach (then ask again), and
        ``ReceiptError`` if its answer proves nothing.
        """
        newest_before = self._seen.newest
        request = SubmitRequest(envelopes=envelopes)
        if attempt_seconds is None:
            answer = self.call(self.gateway.Submit, request)
        else:
            answer = self.call_once(self.gateway.Submit, request, None, attempt_seconds)
        if len(answer.receipts) != len(envelopes):
            raise ReceiptError(f"the gateway gave {len(answer.receipts)} receipts for {len(envelopes)} envelopes")
        checked = [
            check_submitted(envelope, receipt_of(message), self._verifier)
            for envelope, message in zip(envelopes, answer.receipts, strict=True)
        ]
        for (checkpoint, _), message in zip(checked, answer.receipts, strict=True):
            self._seen.see(checkpoint, message.checkpoint, newest_before)
        if self._receipts is not None:
            self._receipts.keep((checkpoint, each) for checkpoint, receipts in checked for each in receipts)
        return [receipts for _, receipts in checked]

    def transaction(self, key: PrivateKey, merchant: MerchantId, reference: Reference) -> TransactionReceipt:
        """A merchant's transaction as the log holds it. Raises ``GatewayError`` with NOT_FOUND if there is none."""
        request = GetTransactionRequest(reference=reference, merchant=merchant)
        answer = self.call(self.gateway.GetTransaction, request, key)
        receipt = receipt_of(answer.receipt)
        checkpoint, checked = check_recorded(merchant, reference, receipt, answer.position, self._verifier)
        # Without the size before the call: a gateway that stands by may read a little behind the one that writes.
        self._seen.see(checkpoint, receipt.checkpoint)
        if self._receipts is not None:
            self._receipts.keep([(checkpoint, checked)])
        return checked

    def alliance(self, *, attempt_seconds: float | None = None) -> Alliance:
        """The alliance's constitution, as far as merchants need it. Raises ``WrongAllianceError``.

        ``attempt_seconds`` as for ``submit``.
        """
        request = GetAllianceRequest()
        if attempt_seconds is None:
            answer = self.call(self.operations.GetAlliance, request)
        else:
            answer = self.call_once(self.operations.GetAlliance, request, None, attempt_seconds)
        constitution = answer.constitution
        if constitution.log_verifier != self._verifier.vkey:
            raise WrongAllianceError(
                f"the gateway at {self.address} is of the alliance {constitution.log_verifier}, and the key given is "
                f"{self._verifier.vkey}; check the address and the key"
            )
        if answer.log_id != self.log.log_id:
            raise WrongAllianceError(
                f"the gateway at {self.address} has the log {answer.log_id.hex()} of the alliance {answer.origin}, and "
                f"{self.log.log_id.hex()} is given: one of them was founded anew; check the address and alliance.json"
            )
        return Alliance(
            currency=constitution.currency,
            currency_decimals=constitution.currency_decimals,
            calendar=LocalCalendar(decode_offsets(answer.zone_offsets)),
            clock=ClockKind(constitution.clock),
            late_presentment_days=constitution.late_presentment_days,
            accepted_at=instant_of(answer.accepted_at),
            log_size=answer.log_size,
        )

    def stores(self, key: PrivateKey) -> dict[StoreId, MerchantId]:
        """All open stores and whose they are."""
        answer = self.call(self.operations.ListMerchants, ListMerchantsRequest(), key)
        return {StoreId(store): MerchantId(each.merchant) for each in answer.merchants for store in each.stores}

    def check_log(self, key: PrivateKey) -> int:
        """Have the alliance prove that its log has only grown since the first checkpoint known here; its size now.

        With a receipt store that reaches back to the runs before. Raises ``ForkedLogError`` where the proof fails.
        """
        proven = self._seen.proven
        note = self.call(self.audit.GetCheckpoint, GetCheckpointRequest(), key).checkpoint
        try:
            checkpoint = open_checkpoint(note, self._verifier)
        except NoteError as error:
            raise ReceiptError(f"the newest checkpoint does not hold: {error}") from error
        if proven is not None:
            old_size, new_size = proven.checkpoint.size, checkpoint.size
            if new_size < old_size:  # then there is no proof to ask for
                raise ForkedLogError(f"the log shrank from {old_size:,} to {new_size:,} entries", proven.note, note)
            request = GetConsistencyProofRequest(old_size=old_size, new_size=new_size)
            answer = self.call(self.audit.GetConsistencyProof, request, key)
            self._seen.prove(checkpoint, note, list(answer.consistency_path))
        self._seen.see(checkpoint, note)
        return checkpoint.size
