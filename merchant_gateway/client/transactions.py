"""Card transactions as a merchant's system builds them. Bounds are checked by the gateway, which names the field."""

from __future__ import annotations

import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from clearing.calendar import instant_of
from clearing.contract.entry import timestamp_of
from clearing.errors import ErrorReason, Rejection
from clearing.model import Channel
from clearing.v1.presentment_pb2 import Burn, Earn, OpenCard, Refund, Transaction

_INT64_MAX = 2**63 - 1


def open_card(
    reference: str, card: str, store: str, occurred_at: datetime.datetime, *, channel: Channel = Channel.TILL
) -> Transaction:
    """Make a card known to the alliance. ``occurred_at`` has a time zone, as everywhere here."""
    transaction = _transaction(reference, card, store, occurred_at, channel)
    transaction.open_card.CopyFrom(OpenCard())
    return transaction


def earn(
    reference: str,
    card: str,
    store: str,
    points: int,
    occurred_at: datetime.datetime,
    *,
    purchase_amount_minor: int | None = None,
    channel: Channel = Channel.TILL,
) -> Transaction:
    """Issue points to a card. ``purchase_amount_minor`` is in minor units of the alliance's currency."""
    transaction = _transaction(reference, card, store, occurred_at, channel)
    transaction.earn.CopyFrom(Earn(points=_int64(points, "earn.points")))
    if purchase_amount_minor is not None:
        transaction.earn.purchase_amount_minor = _int64(purchase_amount_minor, "earn.purchase_amount_minor")
    return transaction


def burn(
    reference: str,
    card: str,
    store: str,
    points: int,
    occurred_at: datetime.datetime,
    *,
    channel: Channel = Channel.TILL,
) -> Transaction:
    """Redeem points of a card."""
    transaction = _transaction(reference, card, store, occurred_at, channel)
    transaction.burn.CopyFrom(Burn(points=_int64(points, "burn.points")))
    return transaction


def refund(
    reference: str,
    card: str,
    store: str,
    original_reference: str,
    occurred_at: datetime.datetime,
    *,
    points: int | None = None,
    channel: Channel = Channel.TILL,
) -> Transaction:
    """Take back an earn or a burn of the same merchant and card: so many points, or all that remain of it."""
    transaction = _transaction(reference, card, store, occurred_at, channel)
    transaction.refund.CopyFrom(Refund(original_reference=original_reference))
    if points is not None:
        transaction.refund.points = _int64(points, "refund.points")
    return transaction


def timestamp_from(moment: datetime.datetime, field: str) -> Timestamp:
    """A moment with a time zone as the contract has it, exactly. Raises ``Rejection`` if it has none."""
    if moment.tzinfo is None:
        raise Rejection(
            ErrorReason.INVALID_FIELD,
            f"{field}: {moment} has no time zone, so it is not known which moment it is; give it one",
            field=field,
        )
    return timestamp_of(instant_of(moment))


def _transaction(
    reference: str, card: str, store: str, occurred_at: datetime.datetime, channel: Channel
) -> Transaction:
    return Transaction(
        reference=reference,
        card_token=card,
        store=store,
        occurred_at=timestamp_from(occurred_at, "occurred_at"),
        channel=int(channel),  # type: ignore[arg-type]  # the stubs want the enum's own wrapper
    )


def _int64(number: int, field: str) -> int:
    """The number, if the contract's field can hold it at all."""
    if not -_INT64_MAX <= number <= _INT64_MAX:
        raise Rejection(ErrorReason.POINTS_OUT_OF_RANGE, f"{field}: is beyond any number of points", field=field)
    return number
