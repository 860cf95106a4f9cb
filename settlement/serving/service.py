"""The service that finance teams read: windows, what they settle to, and the statements' files."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import sqlalchemy

from clearing.calendar import next_window
from clearing.contract import bounds
from clearing.deciding.caller import MEMBERS, STAFF, Caller
from clearing.errors import ErrorReason, Rejection
from clearing.model import EntryIndex, MerchantId, WindowId
from clearing.postgres.database import snapshot
from clearing.postgres.reading.stored_log import stored_receipt
from clearing.rules.directory import ClosedWindow, Directory, WindowStatus
from clearing.v1 import entry_pb2, instruction_pb2
from clearing.v1 import settlement_pb2 as contract
from clearing.v1.settlement_pb2_grpc import SettlementServicer
from clearing.writer.writer import Writer
from settlement.reports.files import StatementFormat, statement_file_name
from settlement.serving.from_store import Settlements
from settlement.v1.errors import NoSuchStatementError, WindowNotClosedError
from settlement.v1.month_end import closed_window


class SettlementService(SettlementServicer):
    """Answers from the log, and from what its closed windows settle to."""

    def __init__(
        self,
        writer: Writer,
        engine: sqlalchemy.Engine,
        settlements: Settlements,
        caller_of: Callable[[grpc.ServicerContext], Caller],
    ) -> None:
        """``caller_of`` authenticates a reading call, raising ``Rejection``."""
        self._writer = writer
        self._engine = engine
        self._settlements = settlements
        self._caller_of = caller_of

    def ListWindows(
        self, request: contract.ListWindowsRequest, context: grpc.ServicerContext
    ) -> contract.ListWindowsResponse:
        """All windows from the founding to the ledger's, in order."""
        self._caller_of(context)
        directory = self._directory()
        head = self._writer.head
        assert head is not None, "an alliance has a log"
        windows = []
        window, newest = directory.founded_in, directory.window_at(head.accepted_at)
        while window <= newest or window in directory.closed_windows:
            windows.append(_window(directory, window, head.size))
            window = next_window(window)
        return contract.ListWindowsResponse(windows=windows)

    def GetSettlement(
        self, request: contract.GetSettlementRequest, context: grpc.ServicerContext
    ) -> contract.GetSettlementResponse:
        """The proposal of a closed window, computed from the ledger."""
        self._caller_of(context).require_role(*STAFF)
        window = bounds.window(request.window, "window")
        self._closed(window)
        proposal = instruction_pb2.ProposeSettlement.FromString(self._settlements.proposal(window))
        return contract.GetSettlementResponse(proposal=proposal)

    def GetStatement(
        self, request: contract.GetStatementRequest, context: grpc.ServicerContext
    ) -> contract.GetStatementResponse:
        """One file; a merchant gets its own statement only."""
        caller = self._caller_of(context)
        caller.require_role(*STAFF, *MEMBERS)
        merchant: MerchantId | None = None
        if caller.merchant is not None or request.merchant:
            merchant = caller.merchant_in_view(request.merchant)
        window = bounds.window(request.window, "window")
        closed = self._closed(window)
        try:
            form = StatementFormat(request.format or StatementFormat.JSON)
        except ValueError:
            bounds.invalid("format", "must be JSON, CSV or XLSX")
        if merchant is not None and merchant not in closed.merchants:
            raise Rejection(ErrorReason.NOT_FOUND, str(NoSuchStatementError(merchant, window)), field="merchant")
        content = self._settlements.statement(window, merchant, form)
        return contract.GetStatementResponse(file_name=statement_file_name(merchant, form), content=content)

    def GetPayments(
        self, request: contract.GetPaymentsRequest, context: grpc.ServicerContext
    ) -> contract.GetPaymentsResponse:
        """Payments and statements' digests with their proofs; a merchant gets its own only."""
        caller = self._caller_of(context)
        caller.require_role(*STAFF, *MEMBERS)
        merchant: MerchantId | None = None
        if caller.merchant is not None or request.merchant:
            merchant = caller.merchant_in_view(request.merchant)
        window = bounds.window(request.window, "window")
        closed = self._closed(window)
        answer = contract.GetPaymentsResponse.FromString(self._settlements.payments(window, merchant))
        for each in answer.payments:
            each.recorded = each.index in closed.payments_recorded
        return answer

    def GetProposal(
        self, request: contract.GetProposalRequest, context: grpc.ServicerContext
    ) -> contract.GetProposalResponse:
        """The proposal's entry, proven: by it a merchant knows its statement for the one that is settled."""
        self._caller_of(context).require_role(*STAFF, *MEMBERS)
        window = bounds.window(request.window, "window")
        closed = self._directory().closed_windows.get(window)
        head = self._writer.head
        if closed is None or closed.proposed_in is None or head is None:
            raise Rejection(ErrorReason.NOT_FOUND, f"no settlement of {window} is proposed yet", field="window")
        with snapshot(self._engine) as connection:
            receipt = stored_receipt(connection, closed.proposed_in, head)
        return contract.GetProposalResponse(receipt=receipt.message())

    def _directory(self) -> Directory:
        directory = self._writer.directory
        if directory is None:
            raise Rejection(ErrorReason.NOT_FOUND, "no alliance is founded on this log yet")
        return directory

    def _closed(self, window: WindowId) -> ClosedWindow:
        try:
            return closed_window(self._directory(), window)
        except WindowNotClosedError as error:
            raise Rejection(ErrorReason.NOT_FOUND, str(error), field="window") from None


def _window(directory: Directory, window: WindowId, log_size: int) -> contract.Window:
    closed = directory.closed_windows.get(window)
    if closed is None:
        first = directory.first_index_from(window, log_size)
        end = directory.first_index_from(next_window(window), log_size)
        return contract.Window(window=window, status=_status(WindowStatus.OPEN), range=_range(first, end))
    proposal = closed.proposal
    return contract.Window(
        window=window,
        status=_status(closed.status),
        range=_range(closed.range.first_index, closed.range.end_index),
        payments_recorded=len(closed.payments_recorded),
        payments_proposed=proposal.payments if proposal is not None else 0,
        alliance_statement_digest=proposal.alliance_statement_digest if proposal is not None else b"",
    )


def _range(first: EntryIndex, end: EntryIndex) -> entry_pb2.WindowRange:
    return entry_pb2.WindowRange(first_index=first, end_index=end)


def _status(status: WindowStatus) -> contract.WindowStatus.ValueType:
    return contract.WindowStatus.ValueType(status)
