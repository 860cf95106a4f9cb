"""Deciding one authenticated message: authority, rules, leaf. What the writer and the auditor's replay do alike."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from clearing.contract.entry import encode_instruction_entry, encode_presentment_entry
from clearing.contract.log_identity import log_id_of
from clearing.deciding.authentication import SignedInstruction, SignedMessage, SignedPresentment
from clearing.model import CreateAlliance, EntryIndex, EntryLinks, Instant, Outcome, TransactionResult
from clearing.rules.authority import require_not_from_future
from clearing.rules.case import InstructionDecision, SettlementOf, no_settlement
from clearing.rules.directory import Directory
from clearing.rules.instruction import entry_that_decided
from clearing.rules.ledger import Ledger, LedgerChanges, RecordedInstruction
from clearing.rules.presentment import AlreadyDecided, entry_that_decided_all
from clearing.rules.versions import founding_rules, require_known, rules_at


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
    directory: Directory,
    ledger: Ledger,
    message: SignedMessage,
    accepted_at: Instant,
    index: EntryIndex,
    settlement_of: SettlementOf = no_settlement,
) -> DecidedEntry | AlreadyDecided:
    """Decide the message as entry ``index``. Changes nothing; ``fold`` does.

    What was decided before is answered whatever has become of the key, and however old the message is: a till that lost
    the answer must hear it. Raises ``Rejection`` if its signers may not do this at ``accepted_at``, or it takes rules
    that this program has not, or a settlement that is not computed yet.
    """
    rules = rules_at(directory, accepted_at)
    if isinstance(message, SignedPresentment):
        presentment = message.presentment
        rules.require_presenter(directory, presentment, message.signers)
        decided_before = entry_that_decided_all(ledger, presentment)
        if decided_before is not None:
            return AlreadyDecided(decided_before)
        rules.require_current_presentment(directory, presentment, message.signers, accepted_at)
        results, changes = rules.decide_presentment(directory, ledger, presentment, accepted_at, index)
        links = directory.links_of(index, accepted_at)
        leaf = encode_presentment_entry(message.envelope, accepted_at, results, links)
        after = directory.with_entry(index, accepted_at)
        return DecidedEntry(index, accepted_at, leaf, message, after, changes, None, results)

    instruction = message.instruction
    rules.require_instructor(directory, instruction, message.signers)
    decided_before = entry_that_decided(ledger, instruction)
    if decided_before is not None:
        return AlreadyDecided(decided_before)
    rules.require_current_instruction(directory, instruction, message.signers, accepted_at)
    require_known(instruction.action)
    outcome = rules.decide_instruction(
        directory, ledger, instruction, accepted_at, index, message.signers, settlement_of
    )
    if isinstance(outcome, AlreadyDecided):
        return outcome
    is_new = instruction.key not in ledger.instructions
    links = directory.links_of(index, accepted_at)
    return _instruction_entry(message, outcome, accepted_at, index, links, is_new=is_new)


def decide_founding_message(message: SignedInstruction, accepted_at: Instant) -> DecidedEntry:
    """Decide the log's first entry. Raises ``Rejection`` with CLOCK_SKEW or UNKNOWN_VERSION."""
    require_not_from_future(message.instruction.issued_at, accepted_at, "ledger's time", "issued_at")
    founding = message.instruction.action
    assert isinstance(founding, CreateAlliance)
    decision = founding_rules(founding).decide_founding(message.instruction, accepted_at)
    first = EntryIndex(0)
    entry = _instruction_entry(message, decision, accepted_at, first, EntryLinks(first, first), is_new=True)
    return entry._replace(directory=replace(entry.directory, log_id=log_id_of(entry.leaf)))


def _instruction_entry(
    message: SignedInstruction,
    decision: InstructionDecision,
    accepted_at: Instant,
    index: EntryIndex,
    links: EntryLinks,
    *,
    is_new: bool,
) -> DecidedEntry:
    return DecidedEntry(
        index,
        accepted_at,
        encode_instruction_entry(message.envelope, accepted_at, decision.result, links),
        message,
        decision.directory.with_instruction(index, accepted_at),
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
