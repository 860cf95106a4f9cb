"""The service that merchants' systems call: presenting transactions, and reading back what is theirs."""

from __future__ import annotations

import re

import grpc
import sqlalchemy

from clearing.calendar import next_window
from clearing.contract import bounds
from clearing.contract.entry import timestamp_of
from clearing.errors import ErrorReason, Rejection
from clearing.model import EntryIndex, WindowRange
from clearing.postgres.database import snapshot
from clearing.postgres.reading.ledger_reads import (
    ListedTransaction,
    TransactionPlace,
    has_presented,
    list_transactions,
    read_card,
    read_transaction,
)
from clearing.postgres.reading.stored_log import stored_receipt
from clearing.rules.directory import Directory
from clearing.v1 import merchant_gateway_pb2 as contract
from clearing.v1.merchant_gateway_pb2_grpc import MerchantGatewayServicer
from clearing.writer.writer import Writer
from merchant_gateway.server.authentication import Authenticator
from merchant_gateway.server.calls import PresentmentCall, caller_of

ENVELOPES_MAX = 500
CALL_BYTES_MAX = 2 * 1024 * 1024
"""A call's answer holds all its entries again; both stay below gRPC's usual limit of 4 MiB a message."""
ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""That limit. Short envelopes that repeat parts of a long presentment each get its whole entry, and may pass it."""

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1_000
_PAGE_TOKEN = re.compile(r"(?P<index>[0-9]{1,18})\.(?P<position>[0-9]{1,3})")


class MerchantGateway(MerchantGatewayServicer):
    """Steps 2, 3 and 9 of a transaction's way; the writer does what lies between."""

    def __init__(self, writer: Writer, engine: sqlalchemy.Engine, authenticator: Authenticator) -> None:
        self._writer = writer
        self._engine = engine
        self._authenticator = authenticator

    def Submit(self, request: contract.SubmitRequest, context: grpc.ServicerContext) -> contract.SubmitResponse:
        """Authenticate and validate on this thread, wait for the writer, answer with receipts."""
        if not 1 <= len(request.envelopes) <= ENVELOPES_MAX or request.ByteSize() > CALL_BYTES_MAX:
            raise Rejection(
                ErrorReason.CALL_SIZE,
                f"a call takes 1 to {ENVELOPES_MAX} envelopes of together at most {CALL_BYTES_MAX:,} bytes; split it",
                field="envelopes",
            )
        call = PresentmentCall(context, self._authenticator)
        with self._writer.room_for(len(request.envelopes)):
            decided = self._writer.submit(call.presentments(request.envelopes))
        replies = decided.result()
        response = contract.SubmitResponse()
        for index, reply in enumerate(replies):
            if isinstance(reply, Rejection):
                raise reply.of_envelope(index)
            reply.add_to(response.receipts)
        if response.ByteSize() > ANSWER_BYTES_MAX:
            raise Rejection(
                ErrorReason.CALL_SIZE,
                f"all is decided, but the receipts have together {response.ByteSize():,} bytes, and an answer at most "
                f"{ANSWER_BYTES_MAX:,}; send the same envelopes again, fewer a call",
                field="envelopes",
            )
        return response

    def GetCard(self, request: contract.GetCardRequest, context: grpc.ServicerContext) -> contract.GetCardResponse:
        """The balance of a card; a merchant sees only those that it has presented transactions of."""
        caller = caller_of(context, self._authenticator)
        token = bounds.card_token(request.card_token, "card_token")
        directory = self._authenticator.directory()
        with snapshot(self._engine) as connection:
            card = read_card(connection, token)
            is_seen = caller.merchant is None or has_presented(connection, caller.merchant, token)
        if card is None or not is_seen:
            # One text for both: whether others know the card is nothing to this merchant.
            raise Rejection(
                ErrorReason.NOT_FOUND,
                "no such card has been opened, or you have not presented it: a transaction comes before the balance",
                field="card_token",
            )
        today = directory.local_date(self._authenticator.ledger_time())
        points_by_expiry: dict[str, int] = {}
        for lot, held in card.spendable_lots(today):
            expires_on = lot.expires_on.isoformat()
            points_by_expiry[expires_on] = points_by_expiry.get(expires_on, 0) + held.points
        return contract.GetCardResponse(
            card_token=token,
            points_available=card.points_available(today),
            points_owed=card.points_owed(),
            expiring=[
                contract.ExpiringPoints(expires_on=expires_on, points=points)
                for expires_on, points in points_by_expiry.items()
            ],
        )

    def GetTransaction(
        self, request: contract.GetTransactionRequest, context: grpc.ServicerContext
    ) -> contract.GetTransactionResponse:
        """One transaction by its reference, proven under the newest checkpoint."""
        merchant = caller_of(context, self._authenticator).merchant_in_view(request.merchant)
        reference = bounds.reference(request.reference, "reference")
        head = self._writer.head
        with snapshot(self._engine) as connection:
            found = read_transaction(connection, merchant, reference)
            if found is None or head is None or found.entry_index >= head.size:
                raise Rejection(ErrorReason.NOT_FOUND, f"no transaction {reference!r} of {merchant}", field="reference")
            receipt = stored_receipt(connection, found.entry_index, head)
        return contract.GetTransactionResponse(receipt=receipt.message(), position=found.position)

    def ListTransactions(
        self, request: contract.ListTransactionsRequest, context: grpc.ServicerContext
    ) -> contract.ListTransactionsResponse:
        """A page of a merchant's transactions in the order of the log."""
        merchant = caller_of(context, self._authenticator).merchant_in_view(request.merchant)
        entries = self._entries_asked(self._authenticator.directory(), request.window)
        page_size = min(request.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        bounds.whole_number(page_size, 1, PAGE_SIZE_MAX, "page_size")
        after = _place_of(request.page_token)
        with snapshot(self._engine) as connection:
            listed = list_transactions(
                connection,
                merchant,
                limit=page_size + 1,
                after=after,
                first_index=entries.first_index,
                end_index=entries.end_index,
            )
        page, more = listed[:page_size], len(listed) > page_size
        return contract.ListTransactionsResponse(
            transactions=[_recorded(each) for each in page],
            next_page_token=f"{page[-1].entry_index}.{page[-1].position}" if more else "",
        )

    def _entries_asked(self, directory: Directory, window: str) -> WindowRange:
        head = self._writer.head
        size = head.size if head is not None else 0
        if not window:
            return WindowRange(EntryIndex(0), EntryIndex(size))
        asked = bounds.window(window, "window")
        return WindowRange(
            directory.first_index_from(asked, size), directory.first_index_from(next_window(asked), size)
        )


def _place_of(page_token: str) -> TransactionPlace | None:
    """The place after which a page begins."""
    if not page_token:
        return None
    place = _PAGE_TOKEN.fullmatch(page_token)
    if place is None:
        bounds.invalid("page_token", "must be a next_page_token of an earlier answer")
    return TransactionPlace(EntryIndex(int(place["index"])), int(place["position"]))


def _recorded(listed: ListedTransaction) -> contract.RecordedTransaction:
    return contract.RecordedTransaction(
        entry_index=listed.entry_index,
        position=listed.position,
        reference=listed.reference,
        kind=listed.kind.value,  # type: ignore[arg-type]  # the stubs want the enum's own wrapper
        outcome=int(listed.outcome),  # type: ignore[arg-type]  # the stubs want the enum's own wrapper
        card_token=listed.card,
        store=listed.store,
        points=listed.points,
        points_refunded=listed.points_refunded,
        accepted_at=timestamp_of(listed.accepted_at),
    )
