"""From a transaction to a signed sale, and back from the bytes that the file kept."""

from __future__ import annotations

import datetime
import hashlib

from google.protobuf.message import DecodeError

from clearing.calendar import moment_of
from clearing.contract.decoding import content_digest
from clearing.contract.entry import instant_of
from clearing.contract.presentment import decode_presentment
from clearing.model import Burn, Instant, KeyId, Points
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.presentment_pb2 import Presentment, Transaction
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.outbox.sales import NewSale, Sale
from merchant_gateway.client.transactions import refund

REVERSAL_PREFIX = "reversal-"


def new_sale(client: MerchantClient, transaction: Transaction, presented_at: datetime.datetime | None) -> NewSale:
    """The sale, signed in an envelope of its own.

    Raises ``Rejection`` if the gateway would not take it, whatever the state of the alliance: without connection it
    cannot say so itself, and the till still has the customer before it.
    """
    envelope = client.sign([transaction], presented_at=presented_at)
    (decoded,) = decode_presentment(envelope.payload).transactions
    return NewSale(
        reference=decoded.reference,
        content_digest=decoded.content_digest,
        occurred_at=decoded.occurred_at,
        points_burned=decoded.kind.points if isinstance(decoded.kind, Burn) else Points(0),
        envelope=envelope,
    )


def reversal_of(client: MerchantClient, transaction: Transaction, presented_at: datetime.datetime | None) -> NewSale:
    """The refund of a whole burn, under a reference made from the burn's: however often it is made, it is the same."""
    digest = hashlib.sha256(transaction.reference.encode()).hexdigest()
    reversal = refund(
        REVERSAL_PREFIX + digest[:32],
        transaction.card_token,
        transaction.store,
        transaction.reference,
        moment_of(instant_of(transaction.occurred_at)),
    )
    reversal.channel = transaction.channel
    sale = new_sale(client, reversal, presented_at)
    return NewSale(sale.reference, sale.content_digest, sale.occurred_at, Points(0), sale.envelope, is_withdrawn=True)


def kept_presentment(sale: Sale) -> Presentment | None:
    """What the file kept of a sale; None if it is not what was written."""
    try:
        presentment = Presentment.FromString(Envelope.FromString(sale.envelope).payload)
    except DecodeError:
        return None
    if [each.reference for each in presentment.transactions] != [sale.reference]:
        return None
    transaction = Transaction.FromString(presentment.transactions[0].SerializeToString())
    # As the gateway compares content: to the microsecond.
    transaction.occurred_at.nanos -= transaction.occurred_at.nanos % 1_000
    return presentment if content_digest(transaction) == sale.content_digest else None


def signed_anew(client: MerchantClient, sale: Sale, presented_at: Instant | None = None) -> Envelope | None:
    """The sale signed by the client's key, with the payload as it was but for ``presented_at``, if that is given.

    None if the file does not hold what was written: a wrong sale must not get a good signature.
    """
    presentment = kept_presentment(sale)
    if presentment is None:
        return None
    at = instant_of(presentment.presented_at) if presented_at is None else presented_at
    return client.sign(presentment.transactions, presented_at=moment_of(at))


def key_id_of_sale(sale: Sale) -> KeyId | None:
    """By which key a sale was signed."""
    try:
        signatures = Envelope.FromString(sale.envelope).signatures
    except DecodeError:
        return None
    return KeyId(signatures[0].keyid) if signatures else None
