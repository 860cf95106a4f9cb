"""What a till's program uses: sell, drain, and see to what was refused or set aside."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from clearing.clock import WallClock, system_time
from clearing.closing import Closing
from clearing.contract.entry import decode_entry
from clearing.contract.receipt import receipt_of
from clearing.errors import ClearingError
from clearing.model import Points, Reference
from clearing.v1.presentment_pb2 import Presentment, Transaction
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.outbox.background import BackgroundDrain
from merchant_gateway.client.outbox.drain_lock import DrainLock
from merchant_gateway.client.outbox.file import OutboxError, OutboxFile
from merchant_gateway.client.outbox.sales import NewSale, Sale, Sales, State
from merchant_gateway.client.outbox.sending import Progress, Sender
from merchant_gateway.client.outbox.signing import kept_presentment, new_sale, reversal_of, signed_anew
from merchant_gateway.client.outbox.values import (
    Backlog,
    BurnOfflineError,
    DrainReport,
    FloorLimit,
    Queued,
    RefusedSale,
    SaleSetAsideError,
    SetAsideSale,
)
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.transaction_receipt import TransactionReceipt, check_recorded

PATIENCE_SECONDS = 2.0
DRAIN_SECONDS = 60.0
LATE_PRESENTMENT_DAYS_UNTIL_KNOWN = 7
"""What alliances are founded with unless they choose otherwise; replaced by the alliance's own at the first contact."""


class Outbox(Closing):
    """The sales of one merchant's tills, safe in a file until the alliance has decided them.

    Any thread may use it, and several processes may open the same file, each for itself: whoever sends, sends for all.
    Every method raises ``OutboxError`` where the file cannot be used: ``OutboxFullError`` or ``OutboxDamagedError``,
    where it is that.
    """

    def __init__(
        self,
        path: Path,
        client: MerchantClient,
        *,
        floor_limit: FloorLimit | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        retry: RetryPolicy | None = None,
        wall_clock: WallClock = system_time,
    ) -> None:
        """Open the file at ``path``, or make it; another is made beside it.

        ``floor_limit``: without one, no burn waits. ``patience_seconds``: how long a customer waits for an answer
        before a sale is left in the queue; 0 leaves every sale to ``drain``, and burns to the floor limit. Of
        ``retry`` the waits and the time of an attempt count. Raises ``OutboxError``, also for a file of another
        merchant or alliance.
        """
        self._client = client
        self._floor_limit = floor_limit
        self._patience_seconds = patience_seconds
        self._wall_clock = wall_clock
        self._file = OutboxFile(path, client.log, client.merchant)
        self._sales = Sales(self._file)
        self._drain_lock = DrainLock(path)
        self._closing = threading.Event()
        self._sender = Sender(self._sales, client, retry or RetryPolicy(), wall_clock, self._closing)
        self._background: BackgroundDrain | None = None

    def sell(
        self, transaction: Transaction, *, presented_at: datetime.datetime | None = None
    ) -> Queued | TransactionReceipt:
        """Write the sale to the file, then send it: its receipt, accepted or refused, or that it waits.

        Whatever happens from here on, once it is written it will be presented, once. Asking again with the same
        transaction is safe, now and after a crash, and tells what became of it. ``presented_at``: now, unless said
        otherwise.

        Raises ``Rejection`` for a transaction that no gateway would take, ``ReferenceTakenError``,
        ``SaleSetAsideError``, and ``BurnOfflineError`` for a burn that the gateway cannot decide now and no floor limit
        allows: then tell the customer that nothing was burned. The burn's reference is used up.
        """
        sale = new_sale(self._client, transaction, presented_at)
        deadline = time.monotonic() + self._patience_seconds
        if sale.points_burned and not self._may_wait(sale) and self._sales.find(sale.reference) is None:
            # Before it is written: a burn that is not written needs no reversal.
            progress = self._run(deadline, must_meet_gateway=True)
            if not progress.is_complete:
                raise self._burn_offline(sale.reference, progress.stopped_by)
        written = self._sales.add(sale)
        stopped_by = self._sender.last_error
        if written.state == State.QUEUED and (sale.points_burned or time.monotonic() >= self._sender.resume_at):
            stopped_by = self._run(deadline, up_to=written.number).stopped_by
        if sale.points_burned:
            return self._burn_as_it_stands(written, transaction, presented_at, stopped_by)
        return self._as_it_stands(self._sales.find(sale.reference), sale.reference, stopped_by)

    def drain(self, deadline_seconds: float = DRAIN_SECONDS) -> DrainReport:
        """Send the queue in order, for at most so long; what it came to."""
        progress = self._run(time.monotonic() + deadline_seconds)
        refused = [self._sales.find(sale.reference) for sale in progress.refused]
        return DrainReport(
            progress.accepted,
            tuple(self._refused_sale(sale) for sale in refused if sale is not None and sale.state == State.REFUSED),
            tuple(_set_aside_sale(sale) for sale in progress.set_aside),
            progress.stopped_by,
            self.backlog(),
        )

    def drain_in_background(
        self,
        on_report: Callable[[DrainReport], None] | None = None,
        on_failure: Callable[[OutboxError], None] | None = None,
        *,
        every_seconds: float = 1.0,
    ) -> None:
        """Drain whenever something waits, on a thread of its own, until the outbox is closed.

        ``on_report`` is called after each drain and ``on_failure`` where the file could not be used, both on that
        thread; without ``on_failure`` that is logged.
        """
        assert self._background is None, "one thread is enough"
        self._background = BackgroundDrain(
            self.drain, self.backlog, self._closing, every_seconds, on_report, on_failure
        )
        self._background.start()

    def backlog(self) -> Backlog:
        """What is not settled, how old it is, and when that is too old."""
        totals = self._sales.totals()
        days = totals.late_presentment_days or LATE_PRESENTMENT_DAYS_UNTIL_KNOWN
        age = None if totals.oldest is None else datetime.timedelta(microseconds=self._wall_clock() - totals.oldest)
        return Backlog(
            totals.queued,
            totals.refused,
            totals.set_aside,
            Points(totals.points_burned),
            age,
            datetime.timedelta(days=days),
        )

    def refusals(self) -> Iterator[RefusedSale]:
        """The refused sales that nobody has acknowledged, oldest first; they stay over restarts."""
        return map(self._refused_sale, self._sales.of_state(State.REFUSED))

    def acknowledge(self, reference: str) -> None:
        """Forget a refusal that was seen to."""
        self._remove(reference, State.REFUSED, "refused")

    def set_aside_sales(self) -> Iterator[SetAsideSale]:
        """The sales that were set aside, oldest first: for each call ``send_again`` or ``discard``."""
        return map(_set_aside_sale, self._sales.of_state(State.SET_ASIDE))

    def send_again(self, reference: str) -> None:
        """Put a sale that was set aside back to its place in the queue, signed anew, presented now."""
        sale = self._sales.find(Reference(reference))
        if sale is None or sale.state != State.SET_ASIDE:
            raise _not_there(reference, "set aside")
        envelope = signed_anew(self._client, sale, self._wall_clock())
        if envelope is None:
            raise SaleSetAsideError(
                f"the file does not hold any more what was written for {reference!r}; discard it, and sell it again "
                "from the till's own books"
            )
        self._sales.requeue(sale, envelope)

    def discard(self, reference: str) -> None:
        """Forget a sale that was set aside: it will not be presented."""
        self._remove(reference, State.SET_ASIDE, "set aside")

    def close(self) -> None:
        """Stop sending and close the file; the client stays open. What waits will be sent when it is opened again."""
        self._closing.set()
        if self._background is not None:
            self._background.join()
        self._file.close()

    def _run(self, deadline: float, *, up_to: int | None = None, must_meet_gateway: bool = False) -> Progress:
        try:
            with self._drain_lock.held(deadline) as is_held:
                if not is_held:
                    return Progress()
                return self._sender.run(deadline, up_to=up_to, must_meet_gateway=must_meet_gateway)
        except OSError as error:
            raise OutboxError(f"the lock file beside {self._file.path} cannot be used: {error}") from error

    def _may_wait(self, sale: NewSale) -> bool:
        """Whether a burn may be queued; asked again, for good, when it comes to that."""
        limit = self._floor_limit
        return limit is not None and limit.allows(sale.points_burned, self._sales.points_burned())

    def _burn_as_it_stands(
        self,
        written: Sale,
        transaction: Transaction,
        presented_at: datetime.datetime | None,
        stopped_by: ClearingError | None,
    ) -> Queued | TransactionReceipt:
        """The burn's receipt, or that it waits; if it may not, it is taken back.

        Whether the gateway heard of it is not known: so it stays in the queue, and its refund behind it.
        """
        if written.is_withdrawn:
            stopped_by = BurnOfflineError("it was taken back before")
        reversal = reversal_of(self._client, transaction, presented_at)
        if not self._sales.settle_burn(written, self._floor_limit, reversal):
            raise self._burn_offline(written.reference, stopped_by)
        return self._as_it_stands(self._sales.find(written.reference), written.reference, stopped_by)

    def _as_it_stands(
        self, sale: Sale | None, reference: Reference, stopped_by: ClearingError | None
    ) -> Queued | TransactionReceipt:
        if sale is None:
            # Accepted and so many sales ago that the file has forgotten it; the ledger has not.
            return self._client.transaction(reference)
        if sale.state == State.QUEUED:
            return Queued(reference, stopped_by, self.backlog())
        if sale.state == State.SET_ASIDE:
            raise SaleSetAsideError(
                f"{reference!r} cannot be presented as it is: {sale.reason}; it is kept until somebody decides: see "
                "set_aside_sales"
            )
        return self._receipt(sale)

    def _burn_offline(self, reference: Reference, stopped_by: ClearingError | None) -> BurnOfflineError:
        why = stopped_by if stopped_by is not None else "it did not answer in time"
        return BurnOfflineError(
            f"the burn {reference!r} is not done: the gateway cannot decide it now, and no floor limit lets it wait "
            f"({why}); go on without it, and burn under a new reference when the gateway is back"
        )

    def _receipt(self, sale: Sale) -> TransactionReceipt:
        message, position = sale.decision()
        client = self._client
        return check_recorded(client.merchant, sale.reference, receipt_of(message), position, client.verifier)[1]

    def _refused_sale(self, sale: Sale) -> RefusedSale:
        receipt = self._receipt(sale)
        recorded = Presentment.FromString(decode_entry(receipt.receipt.leaf).envelope.payload)
        return RefusedSale(recorded.transactions[receipt.position], receipt)

    def _remove(self, reference: str, state: State, how_it_stands: str) -> None:
        if not self._sales.remove(Reference(reference), state):
            raise _not_there(reference, how_it_stands)


def _set_aside_sale(sale: Sale) -> SetAsideSale:
    presentment = kept_presentment(sale)
    transaction = presentment.transactions[0] if presentment is not None else None
    return SetAsideSale(sale.reference, sale.reason or "", transaction)


def _not_there(reference: str, how_it_stands: str) -> OutboxError:
    return OutboxError(f"no sale {reference!r} is {how_it_stands} here; it may have been seen to already")
