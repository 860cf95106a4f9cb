"""What a till gets from its outbox, and the limits it sets."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from clearing.errors import ClearingError
from clearing.model import Points, Reference
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client.transaction_receipt import TransactionReceipt


class BurnOfflineError(ClearingError):
    """A burn was not done, because the gateway is out of reach and no floor limit allows it."""


class ReferenceTakenError(ClearingError):
    """The outbox holds another sale under this reference."""


class SaleSetAsideError(ClearingError):
    """The sale is set aside, and waits for somebody to decide about it."""


@dataclass(frozen=True, slots=True)
class FloorLimit:
    """Up to how many points a till burns on its own risk while the gateway is out of reach."""

    points_per_burn: Points
    points_outstanding: Points
    """Of all burns in the outbox together that are not decided yet."""

    def allows(self, points: int, points_outstanding: int) -> bool:
        """Whether a burn of so many points may wait, beside so many that wait already."""
        return points <= self.points_per_burn and points + points_outstanding <= self.points_outstanding


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the outbox holds that is not settled."""

    queued: int
    """Sales that wait to be sent, or for their answer."""
    refused: int
    """Refused sales that nobody has acknowledged yet."""
    set_aside: int
    """Sales that cannot be sent as they are."""
    points_burned: Points
    """Points of burns that are not decided yet: what the till has given on its own risk."""
    oldest_age: datetime.timedelta | None
    """Since the oldest undecided sale occurred; None if there is none."""
    late_after: datetime.timedelta
    """Older than this, the alliance refuses a sale as LATE_PRESENTMENT."""

    @property
    def is_nearly_late(self) -> bool:
        """Whether the oldest sale has used three quarters of its time: find out why nothing is sent."""
        return self.oldest_age is not None and self.oldest_age >= self.late_after * 3 / 4


@dataclass(frozen=True, slots=True)
class Queued:
    """A sale that is safe in the outbox and will be sent; what it comes to is not known yet."""

    reference: Reference
    stopped_by: ClearingError | None
    """Why it was not decided at once; None where time was short, or another process is sending."""
    backlog: Backlog


@dataclass(frozen=True, slots=True)
class RefusedSale:
    """A sale that the alliance refused. It is final; a further try takes a new reference."""

    transaction: Transaction
    receipt: TransactionReceipt
    """Its ``outcome`` says why; the receipt proves it."""


@dataclass(frozen=True, slots=True)
class SetAsideSale:
    """A sale that the gateway does not take as it is, kept so that somebody decides: send again, or discard."""

    reference: Reference
    reason: str
    """What the gateway, or the outbox itself, found wrong."""
    transaction: Transaction | None
    """None where the file's bytes hold none any more."""


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What sending the queue came to."""

    accepted: int
    refused: tuple[RefusedSale, ...]
    set_aside: tuple[SetAsideSale, ...]
    stopped_by: ClearingError | None
    """Why it went no further; None where all was sent, time was over, or another process is sending."""
    backlog: Backlog
    """What is left."""
