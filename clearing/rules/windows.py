"""Windows: close, propose, approve, pay."""

from __future__ import annotations

from dataclasses import replace

from clearing.calendar import next_window
from clearing.log.merkle import ProofError, leaf_hash, verify_inclusion
from clearing.log.settlement_trees import payment_leaf
from clearing.model import (
    ApproveSettlement,
    CloseWindow,
    InstructionResult,
    Outcome,
    ProposeSettlement,
    RecordPayment,
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
    """The directory with this proposal in place of any before it, if it is exactly what the ledger comes to.

    Once approved, a settlement stays. Raises ``Rejection`` while it is not known what the ledger comes to.
    """
    directory = case.directory
    closed = directory.closed_windows.get(action.window)
    if closed is None:
        return Outcome.WINDOW_NOT_CLOSED
    if closed.approved:
        return Outcome.SETTLEMENT_ALREADY_APPROVED
    if action != case.settlement_of(action.window):
        return Outcome.SETTLEMENT_DIFFERS
    proposed = replace(closed, proposal=action, proposed_in=case.entry_index, proposed_by=case.people)
    return _with_window(directory, action.window, proposed)


def proposers_of(directory: Directory, action: ApproveSettlement) -> frozenset[str]:
    """Who proposed what the window is settled by, as far as it is proposed."""
    closed = directory.closed_windows.get(action.proposal.window)
    return closed.proposed_by if closed is not None else frozenset()


def approve_settlement(case: Case, action: ApproveSettlement) -> Directory | Outcome:
    """The directory with the window's proposal agreed to, if it is exactly what the ledger comes to.

    Raises ``Rejection`` while it is not known what that is.
    """
    directory, window = case.directory, action.proposal.window
    closed = directory.closed_windows.get(window)
    if closed is None or closed.proposal is None:
        return Outcome.SETTLEMENT_NOT_PROPOSED
    if closed.approved:
        return Outcome.SETTLEMENT_ALREADY_APPROVED
    if closed.proposal != action.proposal:
        return Outcome.PROPOSAL_DIFFERS
    if action.proposal != case.settlement_of(window):
        return Outcome.SETTLEMENT_DIFFERS
    return _with_window(directory, window, replace(closed, approved=True))


def record_payment(case: Case, action: RecordPayment) -> Directory | Outcome:
    """The directory with one payment of the settlement made."""
    directory = case.directory
    closed = directory.closed_windows.get(action.window)
    if closed is None or closed.proposal is None or not closed.approved:
        return Outcome.SETTLEMENT_NOT_APPROVED
    if not _is_settled_by(closed.proposal, action):
        return Outcome.UNKNOWN_PAYMENT
    if action.index in closed.payments_recorded:
        return Outcome.PAYMENT_ALREADY_RECORDED
    recorded = closed.payments_recorded | {action.index}
    return _with_window(directory, action.window, replace(closed, payments_recorded=recorded))


def _is_settled_by(proposal: ProposeSettlement, action: RecordPayment) -> bool:
    """Whether the path leads from this payment, at its place, to the root that was approved."""
    payment = action.payment
    leaf = payment_leaf(payment.payer, payment.payee, payment.amount_minor, action.salt)
    try:
        verify_inclusion(leaf_hash(leaf), action.index, proposal.payments, action.path, proposal.payments_root)
    except ProofError:
        return False
    return True


def _with_window(directory: Directory, window: WindowId, closed: ClosedWindow) -> Directory:
    return replace(directory, closed_windows={**directory.closed_windows, window: closed})
