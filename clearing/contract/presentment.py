"""Step 3 of a transaction's way: from a presentment's bytes to its value, checked against the bounds."""

from __future__ import annotations

from clearing.contract import bounds
from clearing.contract.decoding import content_digest, parse_strictly
from clearing.errors import ErrorReason, Rejection
from clearing.model import Burn, Channel, Earn, OpenCard, Presentment, Refund, Transaction, TransactionKind
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
        _kind(message),
        content_digest(message),
    )


def _kind(message: presentment_pb2.Transaction) -> TransactionKind:
    kind = message.WhichOneof("kind")
    if kind == "earn":
        return _earn(message.earn)
    if kind == "burn":
        return Burn(bounds.points(message.burn.points, "burn.points"))
    if kind == "open_card":
        return OpenCard()
    if kind == "refund":
        refund = message.refund
        points = bounds.points(refund.points, "refund.points") if refund.HasField("points") else None
        return Refund(bounds.reference(refund.original_reference, "refund.original_reference"), points)
    bounds.invalid("kind", "must be one of open_card, earn, burn, refund")


def _earn(earn: presentment_pb2.Earn) -> Earn:
    amount = None
    if earn.HasField("purchase_amount_minor"):
        amount = bounds.whole_number(
            earn.purchase_amount_minor, 0, bounds.PURCHASE_AMOUNT_MINOR_MAX, "earn.purchase_amount_minor"
        )
    return Earn(bounds.points(earn.points, "earn.points"), amount)


_CHANNELS: dict[int, Channel] = {int(channel): channel for channel in Channel}


def _channel(number: int, field: str) -> Channel:
    channel = _CHANNELS.get(number)
    if channel is None:
        bounds.invalid(field, "must be a channel the contract names")
    return channel
