"""Step 3 of a transaction's way: from a presentment's bytes to its value, checked against the bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clearing.contract import bounds
from clearing.contract.decoding import content_digest, parse_strictly
from clearing.errors import ErrorReason, Rejection
from clearing.model import (
    Burn,
    Channel,
    Earn,
    OpenCard,
    Presentment,
    Refund,
    Transaction,
    TransactionDetails,
    TransactionKind,
)
from clearing.v1 import presentment_pb2

PAYLOAD_TYPE = "application/vnd.clearing.presentment.v1+protobuf"


def decode_presentment(payload: bytes) -> Presentment:
    """The presentment in these bytes. Raises ``Rejection`` naming what is wrong and the field."""
    message = parse_strictly(presentment_pb2.Presentment(), payload)
    if not message.transactions:
        raise Rejection(ErrorReason.EMPTY_PRESENTMENT, "the presentment holds no transaction", field="transactions")
    if len(message.transactions) > bounds.TRANSACTIONS_MAX:
        bounds.invalid("transactions", f"at most {bounds.TRANSACTIONS_MAX}; split the presentment")
    return Presentment(
        message.origin,
        bounds.merchant(message.merchant, "merchant"),
        bounds.instant(message.presented_at, "presented_at"),
        message.atomic,
        _transactions(message),
        bounds.log_id(message.log_id, "log_id"),
    )


def _transactions(message: presentment_pb2.Presentment) -> tuple[Transaction, ...]:
    transactions: list[Transaction] = []
    try:
        for transaction in message.transactions:
            transactions.append(_transaction(transaction))
    except Rejection as rejection:
        raise rejection.within(f"transactions[{len(transactions)}]") from None
    return tuple(transactions)


def _transaction(message: presentment_pb2.Transaction) -> Transaction:
    unit = message.unit
    if unit:
        bounds.unit(unit, "unit")
    timestamp = message.occurred_at
    occurred_at = bounds.instant(timestamp, "occurred_at")
    if surplus := timestamp.nanos % bounds.NANOS_PER_MICROSECOND:
        # A till that keeps the time more finely, and presents again to the microsecond, means the same transaction.
        timestamp.nanos -= surplus
    return Transaction(
        bounds.reference(message.reference, "reference"),
        bounds.card_token(message.card_token, "card_token"),
        bounds.store(message.store, "store"),
        occurred_at,
        _channel(message.channel, "channel"),
        unit,
        _details(message),
        content_digest(message),
    )


def _details(message: presentment_pb2.Transaction) -> TransactionDetails:
    kind = message.WhichOneof("kind")
    if kind is None:
        bounds.invalid("kind", f"must be one of {', '.join(DECODERS)}")
    return DECODERS[kind](message)


def _open_card(_: presentment_pb2.Transaction) -> OpenCard:
    return OpenCard()


def _burn(message: presentment_pb2.Transaction) -> Burn:
    return Burn(bounds.points(message.burn.points, "burn.points"))


def _refund(message: presentment_pb2.Transaction) -> Refund:
    refund = message.refund
    points = bounds.points(refund.points, "refund.points") if refund.HasField("points") else None
    return Refund(bounds.reference(refund.original_reference, "refund.original_reference"), points)


def _earn(message: presentment_pb2.Transaction) -> Earn:
    earn = message.earn
    amount = None
    if earn.HasField("purchase_amount_minor"):
        amount = bounds.whole_number(
            earn.purchase_amount_minor, 0, bounds.PURCHASE_AMOUNT_MINOR_MAX, "earn.purchase_amount_minor"
        )
    return Earn(bounds.points(earn.points, "earn.points"), amount)


_DECODER_OF: Mapping[TransactionKind, Callable[[presentment_pb2.Transaction], TransactionDetails]] = {
    TransactionKind.OPEN_CARD: _open_card,
    TransactionKind.EARN: _earn,
    TransactionKind.BURN: _burn,
    TransactionKind.REFUND: _refund,
}
DECODERS = {kind.name.lower(): decode for kind, decode in _DECODER_OF.items()}
"""By the name of the kind, which is that of the contract's member of ``kind``."""

_CHANNELS: dict[int, Channel] = {int(channel): channel for channel in Channel}


def _channel(number: int, field: str) -> Channel:
    channel = _CHANNELS.get(number)
    if channel is None:
        bounds.invalid(field, "must be a channel the contract names")
    return channel
