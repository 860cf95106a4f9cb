"""Replaying a log: every entry decided again by the rules, from nothing but the log, and compared with what it says.

This is the auditor's half of the bargain: the same pure functions as the writer's, over an in-memory ledger, without a
database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from clearing.calendar import moment_of
from clearing.clock import next_accepted_at
from clearing.contract import instruction as instruction_contract
from clearing.contract.entry import Entry, EntryError, decode_entry
from clearing.deciding.authentication import (
    SignedInstruction,
    SignedMessage,
    SignedPresentment,
    authenticate_founding,
    authenticate_instruction,
    authenticate_presentment,
    message_time,
)
from clearing.deciding.decision import DecidedEntry, decide_founding_message, decide_message, fold
from clearing.errors import ClearingError, Rejection
from clearing.log.merkle import leaf_hash
from clearing.log.tree import RightEdge, append
from clearing.model import ClockKind, CreateAlliance, EntryIndex, Instant, KeyId, Outcome, Points, WindowId
from clearing.rules.directory import Directory
from clearing.rules.invariants import Books
from clearing.rules.ledger import Ledger
from clearing.rules.movements import Flow
from clearing.rules.presentment import AlreadyDecided


class ReplayDifference(ClearingError):
    """The first entry that is not what the rules make of the log before it."""

    def __init__(self, index: int, what: str) -> None:
        """``index`` is the entry's; ``what`` says what differs."""
        super().__init__(f"entry {index}: {what}")
        self.index = index
        self.what = what


class Replay:
    """The state of a log after the entries stepped through so far."""

    def __init__(self) -> None:
        self.directory: Directory | None = None
        self.ledger = Ledger()
        self.books = Books()
        self.accepted_at = Instant(0)
        self.size = 0
        self.signatures = 0
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()
        """How many transactions and instructions came to each outcome, by kind."""
        self._flows: defaultdict[WindowId, Counter[Flow]] = defaultdict(Counter)
        """By window: how many points each flow has, keyed by the flow without its points."""
        self._roots: dict[int, bytes] = {}
        """The tree's root at every size at which a window begins."""
        self._edge = RightEdge.empty()
        self._leaf_hashes: list[bytes] = []
        """Of the entries behind ``_edge``."""
        self._entries_by_key: defaultdict[KeyId, list[tuple[Instant, EntryIndex]]] = defaultdict(list)

    def step(self, leaf: bytes) -> DecidedEntry:
        """Decide the log's next entry again, and go on from it.

        Raises ``ReplayDifference`` if the entry is not exactly what the rules make of its envelope at this place.
        """
        index = EntryIndex(self.size)
        try:
            entry = decode_entry(leaf)
            message = self._authenticate(entry, index)
            self._check_time(entry, message, index)
            decided = self._decide(entry, message, index)
        except (EntryError, Rejection) as error:
            raise ReplayDifference(index, str(error)) from None
        if isinstance(decided, AlreadyDecided):
            raise ReplayDifference(index, f"its envelope was decided in entry {decided.entry_index} already")
        _compare(entry, decode_entry(decided.leaf), index)
        if decided.leaf != leaf:
            # Nothing may ride along in the log that the rules do not see.
            raise ReplayDifference(index, "its bytes are not the canonical form of what it says (docs/protocol.md)")
        self._go_on(decided, leaf)
        return decided

    def flows_before(self, window: WindowId) -> list[Flow]:
        """All flows of windows before this one."""
        return _flows(self._flows[each] for each in list(self._flows) if each < window)

    def flows_during(self, window: WindowId) -> list[Flow]:
        """The flows of this window."""
        return _flows([self._flows[window]])

    def root_at(self, size: int) -> bytes:
        """The tree's root at a size at which a window begins."""
        return self._roots[size]

    def entries_since_compromise(self) -> dict[KeyId, list[EntryIndex]]:
        """For each key that somebody else may have had: the entries it signed since then."""
        keys = self.directory.keys.values() if self.directory is not None else ()
        return {
            key.key_id: [index for at, index in self._entries_by_key[key.key_id] if at >= key.compromised_since]
            for key in keys
            if key.compromised_since is not None
        }

    def _authenticate(self, entry: Entry, index: EntryIndex) -> SignedMessage:
        self.signatures += len(entry.envelope.signatures)
        if self.directory is None:
            return authenticate_founding(entry.envelope)
        if entry.envelope.payload_type == instruction_contract.PAYLOAD_TYPE:
            return authenticate_instruction(entry.envelope, self.directory)
        return authenticate_presentment(entry.envelope, self.directory)

    def _check_time(self, entry: Entry, message: SignedMessage, index: EntryIndex) -> None:
        """The ledger's time never goes back, and under the presented clock it is the payloads' own."""
        if entry.accepted_at < self.accepted_at:
            raise ReplayDifference(
                index, f"accepted at {moment_of(entry.accepted_at)}, before the entry in front of it"
            )
        expected = next_accepted_at(self._clock_of(message), self.accepted_at, entry.accepted_at, message_time(message))
        if entry.accepted_at != expected:
            raise ReplayDifference(
                index,
                f"accepted at {moment_of(entry.accepted_at)}, and by the presented clock it is {moment_of(expected)}",
            )

    def _clock_of(self, message: SignedMessage) -> ClockKind:
        if self.directory is not None:
            return self.directory.constitution.clock
        assert isinstance(message, SignedInstruction)
        assert isinstance(message.instruction.action, CreateAlliance)
        return message.instruction.action.clock

    def _decide(self, entry: Entry, message: SignedMessage, index: EntryIndex) -> DecidedEntry | AlreadyDecided:
        if self.directory is None:
            assert isinstance(message, SignedInstruction)
            return decide_founding_message(message, entry.accepted_at)
        return decide_message(self.directory, self.ledger, message, entry.accepted_at, index)

    def _go_on(self, decided: DecidedEntry, leaf: bytes) -> None:
        self._note_window(decided)
        window = decided.directory.window_at(decided.accepted_at)
        flows = self._flows[window]
        for _, posting in decided.changes.postings:
            self.books.add(posting)
            flows[Flow(posting.movement, posting.issuer, posting.redeemer, posting.priced_on, Points(0))] += (
                posting.points
            )
        fold(self.ledger, decided)
        self._count(decided)
        for key_id in decided.message.signers:
            self._entries_by_key[key_id].append((decided.accepted_at, decided.index))
        self._leaf_hashes.append(leaf_hash(leaf))
        self.directory, self.accepted_at, self.size = decided.directory, decided.accepted_at, self.size + 1

    def _note_window(self, decided: DecidedEntry) -> None:
        """Keep the root at the first entry of each window: where a window's range ends, another begins."""
        if decided.directory.window_starts[decided.directory.window_at(decided.accepted_at)] == decided.index:
            self._edge = append(self._edge, self._leaf_hashes).edge
            self._leaf_hashes = []
            self._roots[decided.index] = self._edge.root()

    def _count(self, decided: DecidedEntry) -> None:
        entry = decode_entry(decided.leaf)
        match decided.message:
            case SignedPresentment(_, presentment, _):
                for transaction, result in zip(presentment.transactions, entry.transaction_results, strict=True):
                    self.outcomes[type(transaction.kind).__name__, result.outcome] += 1
            case SignedInstruction(_, instruction, _):
                assert entry.instruction_result is not None
                self.outcomes[type(instruction.action).__name__, entry.instruction_result.outcome] += 1


def _flows(windows: Iterable[Counter[Flow]]) -> list[Flow]:
    total: Counter[Flow] = Counter()
    for flows in windows:
        total.update(flows)
    return [flow._replace(points=Points(points)) for flow, points in total.items()]


def _compare(logged: Entry, decided: Entry, index: EntryIndex) -> None:
    """The outcomes in the log against what the rules decide; name the first that differs."""
    if len(logged.transaction_results) != len(decided.transaction_results):
        raise ReplayDifference(
            index,
            f"has {len(logged.transaction_results)} transaction results, "
            f"and its envelope {len(decided.transaction_results)} transactions",
        )
    pairs = zip(logged.transaction_results, decided.transaction_results, strict=True)
    for position, (in_log, by_rules) in enumerate(pairs):
        if in_log != by_rules:
            raise ReplayDifference(index, f"transaction {position}: the log says {in_log}, the rules {by_rules}")
    if logged.instruction_result != decided.instruction_result:
        raise ReplayDifference(
            index, f"the log says {logged.instruction_result}, the rules {decided.instruction_result}"
        )
