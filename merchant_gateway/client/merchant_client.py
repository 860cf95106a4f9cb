"""The client library of a merchant's system: sign, submit, retry, verify, keep. Step 1 of a transaction's way.

    alliance = read_alliance(Path("alliance.json"))
    receipts = ReceiptStore(Path("receipts.sqlite"), alliance.verifier)
    with MerchantClient("127.0.0.1:7443", alliance, merchant, key, receipts=receipts) as client:
        (receipt,) = client.submit([earn("till-7-000123", card, "store-1", 120, occurred_at)])
        print(receipt.outcome.name, receipt.points_available)

Transactions are made in ``merchant_gateway.client.transactions``. The merchant's reference is what makes sending again
safe: keep it with the sale, and whatever happens, submit the same transaction under the same reference until an answer
comes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import grpc

from clearing.calendar import instant_of as instant_of_moment
from clearing.clock import WallClock, system_time
from clearing.closing import Closing
from clearing.contract.entry import instant_of, timestamp_of
from clearing.contract.log_identity import LogIdentity
from clearing.contract.presentment import PAYLOAD_TYPE
from clearing.model import (
    CardToken,
    EntryIndex,
    Instant,
    KeyId,
    MerchantId,
    Outcome,
    Points,
    Reference,
    StoreId,
    TransactionKind,
)
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.merchant_gateway_pb2 import GetCardRequest, ListTransactionsRequest, RecordedTransaction
from clearing.v1.presentment_pb2 import Presentment, Transaction
from merchant_gateway.client.connection import Alliance, MerchantConnection
from merchant_gateway.client.receipt_store import ReceiptStore
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transaction_receipt import TransactionReceipt

PAGE_SIZE = 1_000


class ExpiringPoints(NamedTuple):
    """Points of a card that expire together."""

    expires_on: datetime.date
    """The last local day on which they can be spent."""
    points: Points


@dataclass(frozen=True, slots=True)
class CardBalance:
    """What a card can spend and owes."""

    card: CardToken
    points_available: Points
    points_owed: Points
    expiring: tuple[ExpiringPoints, ...]
    """Earliest first."""


@dataclass(frozen=True, slots=True)
class ListedTransaction:
    """A transaction as the gateway lists it; its receipt is had by ``transaction``."""

    entry_index: EntryIndex
    position: int
    reference: Reference
    kind: TransactionKind
    outcome: Outcome
    card: CardToken
    store: StoreId
    points: Points
    points_refunded: Points
    """Of these points, those refunded since."""
    accepted_at: Instant


def sign_presentment(
    log: LogIdentity,
    merchant: MerchantId,
    key: PrivateKey,
    transactions: Sequence[Transaction],
    *,
    presented_at: Instant,
    atomic: bool = False,
) -> Envelope:
    """The envelope of a presentment: what is sent, now or later, and sent again."""
    presentment = Presentment(
        origin=log.origin,
        log_id=log.log_id,
        merchant=merchant,
        presented_at=timestamp_of(presented_at),
        atomic=atomic,
        transactions=transactions,
    )
    return sign_envelope(presentment.SerializeToString(deterministic=True), PAYLOAD_TYPE, [key])


class MerchantClient(Closing):
    """One merchant's way to its alliance. Any thread may use it.

    Every method raises ``GatewayError`` with a named reason where the gateway turned the call away, or could not be
    reached within the retry policy's deadline; ``ReceiptError`` where an answer does not prove what it says, and
    ``ForkedLogError`` where the alliance has shown two logs. A refused transaction is no error: see its receipt's
    ``outcome``.
    """

    def __init__(
        self,
        address: str,
        alliance: LogIdentity,
        merchant: MerchantId,
        key: PrivateKey,
        *,
        receipts: ReceiptStore | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        insecure_plaintext: bool = False,
        retry: RetryPolicy | None = None,
        wall_clock: WallClock = system_time,
    ) -> None:
        """Connect on the first call; all but ``merchant`` and its ``key`` as for ``MerchantConnection``.

        ``alliance`` is what the operator's ``alliance.json`` says (``read_alliance``).
        """
        self.merchant = merchant
        self.log = alliance
        self.verifier = alliance.verifier
        self._key = key
        self._wall_clock = wall_clock
        self._connection = MerchantConnection(
            address,
            alliance,
            receipts=receipts,
            credentials=credentials,
            insecure_plaintext=insecure_plaintext,
            retry=retry,
            wall_clock=wall_clock,
        )

    def submit(
        self,
        transactions: Sequence[Transaction],
        *,
        atomic: bool = False,
        presented_at: datetime.datetime | None = None,
    ) -> list[TransactionReceipt]:
        """Present transactions together, under one signature; a receipt for each, in order.

        ``atomic``: all or none. ``presented_at``: now, unless said otherwise.
        """
        return self.submit_signed([self.sign(transactions, atomic=atomic, presented_at=presented_at)])[0]

    def submit_many(
        self,
        presentments: Sequence[Sequence[Transaction]],
        *,
        atomic: bool = False,
        presented_at: datetime.datetime | None = None,
    ) -> list[list[TransactionReceipt]]:
        """Several presentments in one call, each decided for itself; receipts in the same order."""
        return self.submit_signed([self.sign(each, atomic=atomic, presented_at=presented_at) for each in presentments])

    def sign(
        self,
        transactions: Sequence[Transaction],
        *,
        atomic: bool = False,
        presented_at: datetime.datetime | None = None,
    ) -> Envelope:
        """The signed envelope of a presentment, for ``submit_signed``."""
        at = self._wall_clock() if presented_at is None else instant_of_moment(presented_at)
        return sign_presentment(
            self._connection.log, self.merchant, self._key, transactions, presented_at=at, atomic=atomic
        )

    def submit_signed(
        self, envelopes: Sequence[Envelope], *, attempt_seconds: float | None = None
    ) -> list[list[TransactionReceipt]]:
        """Present envelopes that were signed before: how a queue sends what waited, byte for byte.

        ``attempt_seconds``: one attempt of at most so long, instead of the retry policy.
        """
        return self._connection.submit(envelopes, attempt_seconds=attempt_seconds)

    def alliance(self, *, attempt_seconds: float | None = None) -> Alliance:
        """The alliance, as its log says. Raises ``WrongAllianceError`` if the gateway is another's.

        ``attempt_seconds`` as for ``submit_signed``.
        """
        return self._connection.alliance(attempt_seconds=attempt_seconds)

    @property
    def key_id(self) -> KeyId:
        """Of the key that signs."""
        return self._key.key_id

    def card(self, card: CardToken) -> CardBalance:
        """The balance of a card that this merchant has presented a transaction of; NOT_FOUND for others."""
        answer = self._connection.call(self._connection.gateway.GetCard, GetCardRequest(card_token=card), self._key)
        return CardBalance(
            CardToken(answer.card_token),
            Points(answer.points_available),
            Points(answer.points_owed),
            tuple(
                ExpiringPoints(datetime.date.fromisoformat(each.expires_on), Points(each.points))
                for each in answer.expiring
            ),
        )

    def transaction(self, reference: str) -> TransactionReceipt:
        """The transaction of this reference, verified. Raises ``GatewayError`` with NOT_FOUND if there is none."""
        return self._connection.transaction(self._key, self.merchant, Reference(reference))

    def transactions(self, window: str = "") -> Iterator[ListedTransaction]:
        """This merchant's transactions in the log's order: all, or those of a window (``YYYY-MM``)."""
        request = ListTransactionsRequest(window=window, page_size=PAGE_SIZE)
        while True:
            page = self._connection.call(self._connection.gateway.ListTransactions, request, self._key)
            yield from map(_listed, page.transactions)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def check_log(self) -> int:
        """Have the alliance prove that its log has only grown since this merchant first saw it; its size now."""
        return self._connection.check_log(self._key)

    def close(self) -> None:
        """Close the connection; the receipt store stays open."""
        self._connection.close()


def _listed(message: RecordedTransaction) -> ListedTransaction:
    return ListedTransaction(
        entry_index=EntryIndex(message.entry_index),
        position=message.position,
        reference=Reference(message.reference),
        kind=TransactionKind(message.kind),
        outcome=Outcome(message.outcome),
        card=CardToken(message.card_token),
        store=StoreId(message.store),
        points=Points(message.points),
        points_refunded=Points(message.points_refunded),
        accepted_at=instant_of(message.accepted_at),
    )
