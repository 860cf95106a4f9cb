"""Deciding a batch: steps 6 and 7 of a transaction's way, up to the rows and the signed checkpoint, without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clearing.clock import next_accepted_at
from clearing.deciding.authentication import SignedInstruction, SignedMessage, message_time
from clearing.deciding.batch_record import BatchRecord, EntryPosting, Head, LogEntry
from clearing.deciding.decision import DecidedEntry, decide_founding_message, decide_message, fold
from clearing.errors import ErrorReason, Rejection
from clearing.log.checkpoint import Checkpoint, sign_checkpoint
from clearing.log.merkle import leaf_hash
from clearing.log.note import Signer
from clearing.log.tree import Appended, RightEdge, append
from clearing.model import CreateAlliance, EntryIndex, Instant, InstructionKey
from clearing.rules.case import SettlementOf, no_settlement
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger, RecordedInstruction
from clearing.rules.presentment import AlreadyDecided


@dataclass(frozen=True, slots=True)
class LogState:
    """Everything of the log that the writer holds between batches."""

    head: Head | None
    """None: the log is empty."""
    edge: RightEdge
    directory: Directory | None


Answer = EntryIndex | AlreadyDecided | Rejection
"""What a message came to: the index of its new entry, of the older one that answers it, or why it was turned away."""


@dataclass(frozen=True, slots=True)
class DecidedBatch:
    """A batch ready to be recorded."""

    answers: tuple[Answer, ...]
    """One for each message, in order."""
    entries: tuple[DecidedEntry, ...]
    appended: Appended
    record: BatchRecord | None
    """None: nothing new came of it."""
    state: LogState
    """What holds once the record is committed."""


def decide_batch(
    state: LogState,
    ledger: Ledger,
    messages: Sequence[SignedMessage],
    wall_time: Instant,
    signer: Signer,
    settlement_of: SettlementOf = no_settlement,
) -> DecidedBatch:
    """Decide the messages in order over ``ledger``, which holds what they need and is changed by what they do."""
    before = Ledger(dict(ledger.cards), dict(ledger.transactions))
    latest = state.head.accepted_at if state.head is not None else Instant(0)
    size = state.edge.size
    directory = state.directory
    answers: list[Answer] = []
    entries: list[DecidedEntry] = []
    decided: DecidedEntry | AlreadyDecided
    for message in messages:
        index = EntryIndex(size + len(entries))
        try:
            if directory is None:
                decided = _decide_founding(message, wall_time, signer)
            else:
                clock = directory.constitution.clock
                accepted_at = next_accepted_at(clock, latest, wall_time, message_time(message))
                decided = decide_message(directory, ledger, message, accepted_at, index, settlement_of)
        except Rejection as rejection:
            answers.append(rejection)
            continue
        if isinstance(decided, AlreadyDecided):
            answers.append(decided)
            continue
        fold(ledger, decided)
        entries.append(decided)
        answers.append(index)
        directory, latest = decided.directory, decided.accepted_at

    appended = append(state.edge, [leaf_hash(entry.leaf) for entry in entries])
    if not entries or directory is None:
        return DecidedBatch(tuple(answers), (), appended, None, state)
    checkpoint = sign_checkpoint(Checkpoint(directory.origin, appended.edge.size, appended.root), signer)
    head = Head(appended.edge.size, appended.root, latest, checkpoint)
    record = _record(state, directory, entries, appended, head, before, ledger)
    return DecidedBatch(tuple(answers), tuple(entries), appended, record, LogState(head, appended.edge, directory))


def _decide_founding(message: SignedMessage, wall_time: Instant, signer: Signer) -> DecidedEntry:
    if not isinstance(message, SignedInstruction) or not isinstance(message.instruction.action, CreateAlliance):
        raise Rejection(ErrorReason.UNKNOWN_KEY, "the log is empty and knows no key; found the alliance first")
    constitution = message.instruction.action
    if constitution.log_verifier != signer.vkey:
        raise Rejection(
            ErrorReason.INVALID_FIELD,
            "create_alliance.log_verifier: must be the verifier of the log key that this writer signs with",
            field="create_alliance.log_verifier",
        )
    accepted_at = next_accepted_at(constitution.clock, Instant(0), wall_time, message_time(message))
    return decide_founding_message(message, accepted_at)


def _record(
    state: LogState,
    directory: Directory,
    entries: Sequence[DecidedEntry],
    appended: Appended,
    head: Head,
    before: Ledger,
    after: Ledger,
) -> BatchRecord:
    """The rows of the batch: each card and each original once, as the last entry that changed it left it."""
    cards_after = {token: card for token, card in after.cards.items() if card is not before.cards.get(token)}
    rows = [LogEntry(entry.index, entry.accepted_at, entry.leaf) for entry in entries]
    postings: list[EntryPosting] = []
    instruction_indexes: list[EntryIndex] = []
    instructions: dict[InstructionKey, RecordedInstruction] = {}
    for entry in entries:
        for position, posting in entry.changes.postings:
            postings.append(EntryPosting(entry.index, position, posting))
        if isinstance(entry.message, SignedInstruction):
            instruction_indexes.append(entry.index)
            if entry.recorded_instruction is not None:
                instructions[entry.message.instruction.key] = entry.recorded_instruction
    window_starts_before = state.directory.window_starts if state.directory is not None else {}
    return BatchRecord(
        old_head=state.head,
        new_head=head,
        entries=rows,
        tiles=appended.tiles,
        unit=directory.constitution.unit,
        transactions={
            key: recorded
            for key, recorded in after.transactions.items()
            if recorded is not before.transactions.get(key)
        },
        postings=postings,
        cards_after=cards_after,
        instruction_indexes=instruction_indexes,
        instructions=instructions,
        window_starts={
            window: index for window, index in directory.window_starts.items() if window not in window_starts_before
        },
    )
