"""What an instruction comes to: step 6 of a transaction's way, for operators' and finance's messages."""

from __future__ import annotations

from dataclasses import dataclass

from clearing.model import (
    AdmitMerchant,
    ApproveSettlement,
    CardToken,
    CloseWindow,
    CreateAlliance,
    EntryIndex,
    ExpireLots,
    Instant,
    Instruction,
    InstructionResult,
    OpenStore,
    Outcome,
    Points,
    ProposeSettlement,
    RecordPayment,
    RegisterKey,
    RevokeKey,
    SetTerms,
)
from clearing.rules.card import Card
from clearing.rules.directory import Directory
from clearing.rules.expiry import expire_lots
from clearing.rules.founding import found
from clearing.rules.key_register import register_key, revoke_key
from clearing.rules.ledger import Ledger, LedgerChanges
from clearing.rules.membership import admit_merchant, open_store
from clearing.rules.movements import Posting
from clearing.rules.presentment import AlreadyDecided
from clearing.rules.terms import set_terms
from clearing.rules.windows import approve_settlement, close_window, propose_settlement, record_payment

_NO_CHANGES = LedgerChanges({}, {}, ())


@dataclass(frozen=True, slots=True)
class InstructionDecision:
    """A new entry's outcome, the directory after it, and what it changes on cards."""

    result: InstructionResult
    directory: Directory
    changes: LedgerChanges = _NO_CHANGES


def decide_founding(instruction: Instruction, accepted_at: Instant) -> InstructionDecision:
    """Decide the log's first entry.

    The caller has seen to it that the log is empty and the action founds an alliance.
    """
    assert isinstance(instruction.action, CreateAlliance)
    directory = found(instruction, instruction.action, accepted_at)
    return InstructionDecision(InstructionResult(Outcome.ACCEPTED), directory)


def decide_instruction(
    directory: Directory, ledger: Ledger, instruction: Instruction, accepted_at: Instant, entry_index: EntryIndex
) -> InstructionDecision | AlreadyDecided:
    """Decide one instruction. Reads its arguments only."""
    recorded = ledger.instructions.get(instruction.reference)
    if recorded is not None:
        if recorded.content_digest == instruction.content_digest:
            return AlreadyDecided(recorded.entry_index)
        return InstructionDecision(InstructionResult(Outcome.REFERENCE_REUSED), directory)

    action = instruction.action
    if isinstance(action, ExpireLots):
        return _expire(directory, ledger, action, accepted_at)
    after = _directory_after(directory, instruction, accepted_at, entry_index)
    if isinstance(after, Outcome):
        return InstructionDecision(InstructionResult(after), directory)
    window_range = after.closed_windows[action.window].range if isinstance(action, CloseWindow) else None
    return InstructionDecision(InstructionResult(Outcome.ACCEPTED, window_range), after)


def _directory_after(
    directory: Directory, instruction: Instruction, accepted_at: Instant, entry_index: EntryIndex
) -> Directory | Outcome:
    match instruction.action:
        case CreateAlliance():
            return Outcome.ALLIANCE_EXISTS
        case AdmitMerchant() as action:
            return admit_merchant(directory, action)
        case OpenStore() as action:
            return open_store(directory, action)
        case RegisterKey() as action:
            return register_key(directory, action, accepted_at)
        case RevokeKey() as action:
            return revoke_key(directory, action, accepted_at)
        case SetTerms() as action:
            return set_terms(directory, action, directory.local_date(accepted_at))
        case CloseWindow() as action:
            return close_window(directory, action, accepted_at, entry_index)
        case ProposeSettlement() as action:
            return propose_settlement(directory, action, entry_index)
        case ApproveSettlement() as action:
            return approve_settlement(directory, action)
        case RecordPayment() as action:
            return record_payment(directory, action)
        case ExpireLots():
            raise AssertionError("expiry changes cards, not the directory")


def _expire(directory: Directory, ledger: Ledger, action: ExpireLots, accepted_at: Instant) -> InstructionDecision:
    today = directory.local_date(accepted_at)
    cards: dict[CardToken, Card] = {}
    postings: list[tuple[int, Posting]] = []
    for position, token in enumerate(action.cards):
        card = cards.get(token) or ledger.cards.get(token)
        if card is None:
            return InstructionDecision(InstructionResult(Outcome.UNKNOWN_CARD), directory)
        cards[token], expiries = expire_lots(card, today)
        postings.extend((position, posting) for posting in expiries)
    expired = Points(sum(posting.points for _, posting in postings))
    result = InstructionResult(Outcome.ACCEPTED, points_expired=expired)
    return InstructionDecision(result, directory, LedgerChanges(cards, {}, tuple(postings)))
