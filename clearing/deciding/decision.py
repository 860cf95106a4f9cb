"""Deciding one authenticated message: authority, rules, leaf. What the writer and the auditor's replay do alike."""

from __future__ import annotations

from typing import NamedTuple

from clearing.contract.entry import encode_instruction_entry, encode_presentment_entry
from clearing.deciding.authentication import SignedInstruction, SignedMessage, SignedPresentment
from clearing.model import CreateAlliance, EntryIndex, Instant, Outcome, TransactionResult
from clearing.rules.authority import require_not_from_future
from clearing.rules.case import InstructionDecision
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger, LedgerChanges, RecordedInstruction
from clearing.rules.presentment import AlreadyDecided
from clearing.rules.versions import founding_rules, require_known, rules_at

_LEDGER = "ledger's time"


class DecidedEntry(NamedTuple):
    """A new leaf of the log, and what it changes."""

    index: EntryIndex  # type: ignore[assignment]  # of the entry; what a tuple calls so is of no use here
    accepted_at: Instant
    leaf: bytes
    message: SignedMessage
    directory: Directory
    """The directory after it."""
    changes: LedgerChanges
    recorded_instruction: RecordedInstruction | None = None
    """Of an instruction under a reference that was not used before."""
    results: tuple[TransactionResult, ...] = ()
    """Of a presentment, one for each transaction."""
    instruction_outcome: Outcome | None = None


def decide_message(
    directory: Directory, ledger: Ledger, message: SignedMessage, accepted_at: Instant, index: EntryIndex
) -> DecidedEntry | AlreadyDecided:
    """Decide the message as entry ``index``. Changes nothing; ``fold`` does.

    Raises ``Rejection`` if its signers may not do this at ``accepted_at``, or it takes rules that this program has not.
    """
    rules = rules_at(directory, accepted_at)
    if isinstance(message, SignedPresentment):
        presentment = message.presentment
        require_not_from_future(presentment.presented_at, accepted_at, _LEDGER, "presented_at")
        rules.authorise_presentment(directory, presentment, message.signers, accepted_at)
        decided = rules.decide_presentment(directory, ledger, presentment, accepted_at, index)
        if isinstance(decided, AlreadyDecided):
            return decided
        results, changes = decided
        leaf = encode_presentment_entry(message.envelope, accepted_at, results)
        after = directory.with_entry(index, accepted_at)
        # One for each envelope: made without its class's constructor, in half the time.
        return tuple.__new__(DecidedEntry, (index, accepted_at, leaf, message, after, changes, None, results, None))

    instruction = message.instruction
    require_not_from_future(instruction.issued_at, accepted_at, _LEDGER, "issued_at")
    rules.authorise_instruction(directory, instruction, message.signers, accepted_at)
    require_known(instruction.action)
    outcome = rules.decide_instruction(directory, ledger, instruction, accepted_at, index, message.signers)
    if isinstance(outcome, AlreadyDecided):
        return outcome
    is_new = instruction.key not in ledger.instructions
    return _instruction_entry(message, outcome, accepted_at, index, is_new)


def decide_founding_message(message: SignedInstruction, accepted_at: Instant) -> DecidedEntry:
    """Decide the log's first entry. Raises ``Rejection`` with CLOCK_SKEW or UNKNOWN_VERSION."""
    require_not_from_future(message.instruction.issued_at, accepted_at, _LEDGER, "issued_at")
    founding = message.instruction.action
    assert isinstance(founding, CreateAlliance)
    decision = founding_rules(founding).decide_founding(message.instruction, accepted_at)
    return _instruction_entry(message, decision, accepted_at, EntryIndex(0), is_new=True)


def _instruction_entry(
    message: SignedInstruction, decision: InstructionDecision, accepted_at: Instant, index: EntryIndex, is_new: bool
) -> DecidedEntry:
    return DecidedEntry(
        index,
        accepted_at,
        encode_instruction_entry(message.envelope, accepted_at, decision.result),
        message,
        decision.directory.with_entry(index, accepted_at),
        decision.changes,
        RecordedInstruction(index, message.instruction.content_digest) if is_new else None,
        instruction_outcome=decision.result.outcome,
    )


def fold(ledger: Ledger, entry: DecidedEntry) -> None:
    """Make the entry's changes the ledger that the next decision sees."""
    ledger.apply(entry.changes)
    if entry.recorded_instruction is not None:
        assert isinstance(entry.message, SignedInstruction)
        ledger.instructions[entry.message.instruction.key] = entry.recorded_instruction
