"""Windows: close, propose, approve, pay."""

from __future__ import annotations

from dataclasses import replace

from clearing.calendar import next_window
from clearing.model import (
    POOL,
    ApproveSettlement,
    CloseWindow,
    InstructionResult,
    Outcome,
    ProposeSettlement,
    RecordPayment,
    SettlementMethod,
    WindowId,
    WindowRange,
)
from clearing.rules.case import Case, InstructionDecision
from clearing.rules.directory import ClosedWindow, Directory


def close_window(case: Case, action: CloseWindow) -> InstructionDecision | Outcome:
    """The directory with the window's range fixed.

    An entry's window is the month it was accepted in, so once the month is over the range is known and nothing has to
    stop for it.
    """
    directory, window = case.directory, action.window
    if window in directory.closed_windows:
        return Outcome.WINDOW_ALREADY_CLOSED
    following = next_window(window)
    if directory.window_at(case.accepted_at) < following:
        return Outcome.WINDOW_NOT_OVER
    if window != directory.next_to_close():
        return Outcome.WINDOW_OUT_OF_ORDER
    window_range = WindowRange(
        directory.first_index_from(window, case.entry_index), directory.first_index_from(following, case.entry_index)
    )
    closed = ClosedWindow(window_range, tuple(sorted(directory.merchants)))
    return InstructionDecision(
        InstructionResult(Outcome.ACCEPTED, window_range), _with_window(directory, window, closed)
    )


def propose_settlement(case: Case, action: ProposeSettlement) -> Directory | Outcome:
    """The directory with this proposal in place of any before it; once approved, a settlement stays."""
    directory = case.directory
    closed = directory.closed_windows.get(action.window)
    if closed is None:
        return Outcome.WINDOW_NOT_CLOSED
    if closed.approved:
        return Outcome.SETTLEMENT_ALREADY_APPROVED
    participants = set(closed.merchants)
    if directory.constitution.settlement_method is SettlementMethod.POOL:
        participants.add(POOL)
    if tuple(merchant for merchant, _ in action.statement_digests) != closed.merchants:
        return Outcome.PROPOSAL_INCOMPLETE
    pairs = {(payment.payer, payment.payee) for payment in action.payments}
    # One payment a pair: of two equal ones only one could ever be recorded, and the window would never be settled.
    if len(pairs) < len(action.payments):
        return Outcome.PROPOSAL_INCOMPLETE
    if any(payer == payee or not {payer, payee} <= participants for payer, payee in pairs):
        return Outcome.PROPOSAL_INCOMPLETE
    proposed = replace(closed, proposal=action, proposed_in=case.entry_index, proposed_by=case.people)
    return _with_window(directory, action.window, proposed)


def proposers_of(directory: Directory, action: ApproveSettlement) -> frozenset[str]:
    """Who proposed what the window is settled by, as far as it is proposed."""
    closed = directory.closed_windows.get(action.proposal.window)
    return closed.proposed_by if closed is not None else frozenset()


def approve_settlement(case: Case, action: ApproveSettlement) -> Directory | Outcome:
    """The directory with the window's proposal agreed to."""
    directory, window = case.directory, action.proposal.window
    closed = directory.closed_windows.get(window)
    if closed is None or closed.proposal is None:
        return Outcome.SETTLEMENT_NOT_PROPOSED
    if closed.approved:
        return Outcome.SETTLEMENT_ALREADY_APPROVED
    if closed.proposal != action.proposal:
        return Outcome.PROPOSAL_DIFFERS
    return _with_window(directory, window, replace(closed, approved=True))


def record_payment(case: Case, action: RecordPayment) -> Directory | Outcome:
    """The directory with one payment of the settlement made."""
    directory = case.directory
    closed = directory.closed_windows.get(action.window)
    if closed is None or closed.proposal is None or not closed.approved:
        return Outcome.SETTLEMENT_NOT_APPROVED
    if action.payment not in closed.proposal.payments:
        return Outcome.UNKNOWN_PAYMENT
    if action.payment in closed.payments_recorded:
        return Outcome.PAYMENT_ALREADY_RECORDED
    recorded = closed.payments_recorded | {action.payment}
    return _with_window(directory, action.window, replace(closed, payments_recorded=recorded))


def _with_window(directory: Directory, window: WindowId, closed: ClosedWindow) -> Directory:
    return replace(directory, closed_windows={**directory.closed_windows, window: closed})
