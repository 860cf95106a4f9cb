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
        origin=message.origin,
        merchant=bounds.merchant(message.merchant, "merchant"),
        presented_at=bounds.instant(message.presented_at, "presented_at"),
        atomic=message.atomic,
        transactions=tuple(
            _transaction(transaction, f"transactions[{position}]")
            for position, transaction in enumerate(message.transactions)
        ),
    )


def _transaction(message: presentment_pb2.Transaction, path: str) -> Transaction:
    if message.unit:
        bounds.unit(message.unit, f"{path}.unit")
    occurred_at = bounds.instant(message.occurred_at, f"{path}.occurred_at")
    # A till that keeps the time to the microsecond and presents again means the same transaction.
    message.occurred_at.nanos -= message.occurred_at.nanos % bounds.NANOS_PER_MICROSECOND
    return Transaction(
        reference=bounds.reference(message.reference, f"{path}.reference"),
        card=bounds.card_token(message.card_token, f"{path}.card_token"),
        store=bounds.store(message.store, f"{path}.store"),
        occurred_at=occurred_at,
        channel=_channel(message.channel, f"{path}.channel"),
        unit=message.unit,
        kind=_kind(message, path),
        content_digest=content_digest(message),
    )


def _kind(message: presentment_pb2.Transaction, path: str) -> TransactionKind:
    match message.WhichOneof("kind"):
        case "earn":
            earn = message.earn
            amount = None
            if earn.HasField("purchase_amount_minor"):
                amount = bounds.whole_number(
                    earn.purchase_amount_minor,
                    0,
                    bounds.PURCHASE_AMOUNT_MINOR_MAX,
                    f"{path}.earn.purchase_amount_minor",
                )
            return Earn(bounds.points(earn.points, f"{path}.earn.points"), amount)
        case "burn":
            return Burn(bounds.points(message.burn.points, f"{path}.burn.points"))
        case "open_card":
            return OpenCard()
        case "refund":
            refund = message.refund
            points = bounds.points(refund.points, f"{path}.refund.points") if refund.HasField("points") else None
            original = bounds.reference(refund.original_reference, f"{path}.refund.original_reference")
            return Refund(original, points)
        case None:
            bounds.invalid(f"{path}.kind", "must be one of open_card, earn, burn, refund")


def _channel(number: int, field: str) -> Channel:
    try:
        return Channel(number)
    except ValueError:
        bounds.invalid(field, "must be a channel the contract names")
