"""Deciding a batch: steps 6 and 7 of a transaction's way, up to the rows and the signed checkpoint, without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clearing.authentication import SignedInstruction, SignedMessage, message_time
from clearing.clock import next_accepted_at
from clearing.decision import DecidedEntry, decide_founding_message, decide_message, fold
from clearing.errors import ErrorReason, Rejection
from clearing.log.checkpoint import Checkpoint, sign_checkpoint
from clearing.log.merkle import leaf_hash
from clearing.log.note import Signer
from clearing.log.tree import Appended, RightEdge, append
from clearing.model import CardToken, CreateAlliance, EntryIndex, Instant, MerchantId, Reference
from clearing.rules.card import Card
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger, RecordedTransaction
from clearing.rules.presentment import AlreadyDecided
from clearing.store.head import Head
from clearing.store.record import BatchRecord, EntryPosting, LogEntry


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
    state: LogState, ledger: Ledger, messages: Sequence[SignedMessage], wall_time: Instant, signer: Signer
) -> DecidedBatch:
    """Decide the messages in order over ``ledger``, which holds what they need and is changed by what they do."""
    cards_before = dict(ledger.cards)
    latest = state.head.accepted_at if state.head is not None else Instant(0)
    size = state.edge.size
    directory = state.directory
    answers: list[Answer] = []
    entries: list[DecidedEntry] = []
    for message in messages:
        index = EntryIndex(size + len(entries))
        try:
            decided = _decide(directory, ledger, message, latest, wall_time, index, signer)
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
    record = _record(state, directory, entries, appended, head, cards_before)
    return DecidedBatch(tuple(answers), tuple(entries), appended, record, LogState(head, appended.edge, directory))


def _decide(
    directory: Directory | None,
    ledger: Ledger,
    message: SignedMessage,
    latest: Instant,
    wall_time: Instant,
    index: EntryIndex,
    signer: Signer,
) -> DecidedEntry | AlreadyDecided:
    if directory is not None:
        accepted_at = next_accepted_at(directory.constitution.clock, latest, wall_time, message_time(message))
        return decide_message(directory, ledger, message, accepted_at, index)
    if not isinstance(message, SignedInstruction) or not isinstance(message.instruction.action, CreateAlliance):
        raise Rejection(ErrorReason.UNKNOWN_KEY, "the log is empty and knows no key; found the alliance first")
    constitution = message.instruction.action
    if constitution.log_verifier != signer.vkey:
        raise Rejection(
            ErrorReason.INVALID_FIELD,
            "create_alliance.log_verifier: must be the verifier of the log key that this writer signs with",
            field="create_alliance.log_verifier",
        )
    accepted_at = next_accepted_at(constitution.clock, latest, wall_time, message_time(message))
    return decide_founding_message(message, accepted_at)


def _record(
    state: LogState,
    directory: Directory,
    entries: Sequence[DecidedEntry],
    appended: Appended,
    head: Head,
    cards_before: dict[CardToken, Card],
) -> BatchRecord:
    """The rows of the batch: each card and each original once, as the last entry that touched it left it."""
    cards_after: dict[CardToken, Card] = {}
    transactions: dict[tuple[MerchantId, Reference], RecordedTransaction] = {}
    for entry in entries:
        cards_after.update(entry.changes.cards)
        transactions.update(entry.changes.transactions)
    window_starts_before = state.directory.window_starts if state.directory is not None else {}
    return BatchRecord(
        old_head=state.head,
        new_head=head,
        entries=[LogEntry(entry.index, entry.accepted_at, entry.leaf) for entry in entries],
        tiles=appended.tiles,
        unit=directory.constitution.unit,
        transactions=transactions,
        postings=[
            EntryPosting(entry.index, position, posting)
            for entry in entries
            for position, posting in entry.changes.postings
        ],
        cards_before={token: card for token, card in cards_before.items() if token in cards_after},
        cards_after=cards_after,
        instruction_indexes=[entry.index for entry in entries if isinstance(entry.message, SignedInstruction)],
        instructions={
            entry.message.instruction.reference: entry.recorded_instruction
            for entry in entries
            if isinstance(entry.message, SignedInstruction) and entry.recorded_instruction is not None
        },
        window_starts={
            window: index for window, index in directory.window_starts.items() if window not in window_starts_before
        },
    )
