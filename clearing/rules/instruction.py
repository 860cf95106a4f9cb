"""What an instruction comes to: step 6 of a transaction's way, for operators' and finance's messages."""

from __future__ import annotations

from clearing.model import CreateAlliance, EntryIndex, Instant, Instruction, InstructionResult, KeyId, Outcome
from clearing.rules.actions import rule_of
from clearing.rules.case import Case, InstructionDecision, SettlementOf, no_settlement
from clearing.rules.directory import Directory
from clearing.rules.founding import found
from clearing.rules.ledger import Ledger
from clearing.rules.presentment import AlreadyDecided


def decide_founding(instruction: Instruction, accepted_at: Instant) -> InstructionDecision:
    """Decide the log's first entry.

    The caller has seen to it that the log is empty and the action founds an alliance.
    """
    assert isinstance(instruction.action, CreateAlliance)
    directory = found(instruction, instruction.action, accepted_at)
    return InstructionDecision(InstructionResult(Outcome.ACCEPTED), directory)


def entry_that_decided(ledger: Ledger, instruction: Instruction) -> EntryIndex | None:
    """The entry in which an instruction of this reference and content was decided, if there is one."""
    recorded = ledger.instructions.get(instruction.key)
    if recorded is None or recorded.content_digest != instruction.content_digest:
        return None
    return recorded.entry_index


def decide_instruction(
    directory: Directory,
    ledger: Ledger,
    instruction: Instruction,
    accepted_at: Instant,
    entry_index: EntryIndex,
    signers: tuple[KeyId, ...],
    settlement_of: SettlementOf = no_settlement,
) -> InstructionDecision | AlreadyDecided:
    """Decide one instruction, whose signers may sign it. Reads its arguments only.

    Raises ``Rejection`` where ``settlement_of`` is asked and does.
    """
    decided_before = entry_that_decided(ledger, instruction)
    if decided_before is not None:
        return AlreadyDecided(decided_before)
    if instruction.key in ledger.instructions:
        return InstructionDecision(InstructionResult(Outcome.REFERENCE_REUSED), directory)

    action = instruction.action
    people = frozenset(directory.keys[key_id].registration.holder for key_id in signers)
    ruling = rule_of(action).decide(Case(directory, ledger, accepted_at, entry_index, people, settlement_of), action)
    match ruling:
        case InstructionDecision():
            return ruling
        case Outcome():
            return InstructionDecision(InstructionResult(ruling), directory)
        case Directory():
            return InstructionDecision(InstructionResult(Outcome.ACCEPTED), ruling)
