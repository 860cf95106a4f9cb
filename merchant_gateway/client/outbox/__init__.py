"""A till's durable outbox: a sale is written to a file first, then sent, at once or when the gateway is back.

    with Outbox(Path("outbox.sqlite"), client) as outbox:
        sold = outbox.sell(earn("till-7-000123", card, "store-1", 120, occurred_at))

``outbox`` is what a till's program uses, ``values`` what it gets. ``file`` keeps the sales, ``sending`` decides what an
answer of the gateway means for them, ``drain_lock`` keeps senders apart, ``background`` sends while the till does
something else. What a till must know is told in ``docs/till.md``.

A sale is **signed when it is written**, in an envelope of its own, and the envelope is sent again byte for byte until
it is answered:

* the gateway answers a repeated envelope from its one entry, so a crash at any point doubles nothing;
* what is signed is what the customer saw: a byte that rots in the file becomes a bad signature, not a wrong sale;
* ``presented_at`` is the time of the sale, so it is not in the future when the sale is sent; it may be old, because
  how late a sale is counts from ``occurred_at``;
* a call names an envelope that is at fault, and so the one sale.

Only a key that ended while the sale waited makes a new signature necessary. The payload stays as it is.
"""

from merchant_gateway.client.outbox.file import OutboxDamagedError, OutboxError, OutboxFullError
from merchant_gateway.client.outbox.outbox import Outbox
from merchant_gateway.client.outbox.values import (
    Backlog,
    BurnOfflineError,
    DrainReport,
    FloorLimit,
    Queued,
    ReferenceTakenError,
    RefusedSale,
    SaleSetAsideError,
    SetAsideSale,
)

__all__ = [
    "Backlog",
    "BurnOfflineError",
    "DrainReport",
    "FloorLimit",
    "Outbox",
    "OutboxDamagedError",
    "OutboxError",
    "OutboxFullError",
    "Queued",
    "ReferenceTakenError",
    "RefusedSale",
    "SaleSetAsideError",
    "SetAsideSale",
]
