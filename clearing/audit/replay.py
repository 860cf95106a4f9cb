"""Replaying a log: every entry decided again by the rules, from nothing but the log, and compared with what it says.

This is the auditor's half of the bargain: the same pure functions as the writer's, over an in-memory ledger, without a
database. A log of any length is replayed in the memory that its cards take, and what of it can still be refunded.
"""

from __future__ import annotations

import datetime
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from clearing.audit.references import ReadEntry, References, Statement, decided_presentment
from clearing.audit.refundable import RefundableTransactions
from clearing.audit.replay_difference import ReplayDifference
from clearing.audit.signed_entries import SignedEntries
from clearing.calendar import moment_of
from clearing.clock import next_accepted_at
from clearing.closing import Closing
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
from clearing.errors import ClearingError, LedgerContradictionError, Rejection
from clearing.log.merkle import leaf_hash
from clearing.log.tree import RightEdge, append
from clearing.model import (
    ApproveSettlement,
    ClockKind,
    CreateAlliance,
    EntryIndex,
    Instant,
    KeyId,
    Outcome,
    Points,
    ProposeSettlement,
    WindowId,
)
from clearing.rules.case import no_settlement
from clearing.rules.directory import Directory
from clearing.rules.invariants import Books, transaction_violations
from clearing.rules.ledger import Ledger
from clearing.rules.movements import Flow
from clearing.rules.presentment import AlreadyDecided

LEAVES_PER_APPEND: Final = 4_096
_NO_MONTH: Final = datetime.date.min
"""Of flows that are kept without their month of issue."""

Settle = Callable[[Directory, WindowId, Iterable[Flow], Iterable[Flow], bytes], ProposeSettlement]
"""From the flows before a closed window and in it, and the log's root at its end, to what it settles to."""


class Replay(Closing):
    """The state of a log after the entries stepped through so far.

    In memory it has the cards, the books and what can still be taken back; everything else that it must know of the
    entries is in a temporary folder, which goes when the ``with`` block is left.
    """

    def __init__(self, read_entry: ReadEntry, settle: Settle | None = None) -> None:
        """``read_entry`` gives an entry that was stepped through once more, for those that name earlier ones.

        ``settle`` computes what a closed window settles to; without it, no log is replayed in which one is proposed.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="clearing-replay-")
        folder = Path(self._folder.name)
        transactions = RefundableTransactions()
        self._references = References(read_entry, folder, transactions)
        self._signed = SignedEntries(folder / "signed")
        self.directory: Directory | None = None
        self.ledger = Ledger(transactions=transactions)
        self.books = Books()
        self.accepted_at = Instant(0)
        self.size = 0
        self.signatures = 0
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()
        """How many transactions and instructions came to each outcome, by kind."""
        self._flows: defaultdict[WindowId, Counter[Flow]] = defaultdict(Counter)
        """By window: how many points each flow has, keyed by the flow without its points. Of a window whose settlement
        is approved, of each issuer's movements only: that is what later openings need."""
        self._settle = settle
        self._settled: dict[WindowId, ProposeSettlement] = {}
        """What closed windows settle to, until that is approved."""
        self._roots: dict[int, bytes] = {}
        """The tree's root at every size at which a window begins."""
        self._edge = RightEdge.empty()
        self._leaf_hashes: list[bytes] = []
        """Of the entries behind ``_edge``."""

    def close(self) -> None:
        """Remove what was kept for the replay."""
        self._signed.close()
        self._folder.cleanup()

    def step(self, leaf: bytes) -> DecidedEntry:
        """Decide the log's next entry again, and go on from it.

        Raises ``ReplayDifference`` if the entry is not exactly what the rules make of its envelope at this place.
        """
        index = EntryIndex(self.size)
        try:
            entry = decode_entry(leaf)
            message = self._authenticate(entry, index)
            self._check_time(entry, message, index)
            said = self._assume(entry, message, index)
            decided = self._decide(entry, message, index)
        except (EntryError, LedgerContradictionError, Rejection) as error:
            raise ReplayDifference(index, str(error)) from None
        if isinstance(decided, AlreadyDecided):
            raise ReplayDifference(index, f"its envelope was decided in entry {decided.entry_index} already")
        if decided.leaf != leaf:
            _compare(entry, decode_entry(decided.leaf), index)
            # Nothing may ride along in the log that the rules do not see.
            raise ReplayDifference(index, "its bytes are not the canonical form of what it says (docs/protocol.md)")
        self._references.keep(index, said)
        self._go_on(decided, leaf)
        return decided

    def finish(self) -> None:
        """Check, after the last entry, what could not be checked at each.

        Raises ``ReplayDifference`` for an entry that decides a reference a second time, or says of one what is not so.
        """
        if self.directory is not None:
            self._references.check(self.directory)

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
        since = {key.key_id: key.compromised_since for key in keys if key.compromised_since is not None}
        return self._signed.entries_since(since)

    def _authenticate(self, entry: Entry, index: EntryIndex) -> SignedMessage:
        self.signatures += len(entry.envelope.signatures)
        if self.directory is None:
            return authenticate_founding(entry.envelope)
        if entry.envelope.payload_type == instruction_contract.PAYLOAD_TYPE:
            return authenticate_instruction(entry.envelope, self.directory)
        return authenticate_presentment(entry.envelope, self.directory)

    def _assume(self, entry: Entry, message: SignedMessage, index: EntryIndex) -> list[Statement]:
        """Let the ledger hold what the entry says of references and is not remembered; what has to be checked of it."""
        if self.directory is None or not isinstance(message, SignedPresentment):
            return []
        decided = decided_presentment(index, entry, message.presentment)
        return self._references.assume(decided, self.directory) if decided is not None else []

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
        return decide_message(self.directory, self.ledger, message, entry.accepted_at, index, self._settlement_of)

    def _settlement_of(self, window: WindowId) -> ProposeSettlement:
        """What the closed window settles to, computed from the log before it was closed."""
        if self._settle is None or self.directory is None:
            return no_settlement(window)
        if window not in self._settled:
            end_index = self.directory.closed_windows[window].range.end_index
            before, during = self.flows_before(window), self.flows_during(window)
            try:
                self._settled[window] = self._settle(self.directory, window, before, during, self.root_at(end_index))
            except ClearingError as error:
                raise ReplayDifference(self.size, f"what {window} settles to cannot be computed: {error}") from None
        return self._settled[window]

    def _forget_flows_of_approved(self, decided: DecidedEntry) -> None:
        """A window settles once: keep of its flows what later windows open with."""
        if not isinstance(decided.message, SignedInstruction) or decided.instruction_outcome is not Outcome.ACCEPTED:
            return
        action = decided.message.instruction.action
        if isinstance(action, ApproveSettlement):
            window = action.proposal.window
            self._settled.pop(window, None)
            kept: Counter[Flow] = Counter()
            for flow, points in self._flows[window].items():
                kept[Flow(flow.movement, flow.issuer, None, _NO_MONTH, flow.unit, Points(0))] += points
            self._flows[window] = kept

    def _go_on(self, decided: DecidedEntry, leaf: bytes) -> None:
        self._note_window(decided)
        window = decided.directory.window_at(decided.accepted_at)
        flows = self._flows[window]
        for _, posting in decided.changes.postings:
            self.books.add(posting)
            movement, issuer, redeemer = posting.movement, posting.issuer, posting.redeemer
            flows[Flow(movement, issuer, redeemer, posting.issued_in, posting.unit, Points(0))] += posting.points
        for recorded in decided.changes.transactions.values():
            for violation in transaction_violations(recorded):
                raise ReplayDifference(decided.index, violation)
        fold(self.ledger, decided)
        self._forget_flows_of_approved(decided)
        self._count(decided)
        self._signed.add(decided.message.signers, decided.accepted_at, decided.index)
        self._leaf_hashes.append(leaf_hash(leaf))
        if len(self._leaf_hashes) == LEAVES_PER_APPEND:
            self._append_leaves()
        self.directory, self.accepted_at, self.size = decided.directory, decided.accepted_at, self.size + 1

    def _note_window(self, decided: DecidedEntry) -> None:
        """Keep the root at the first entry of each window: where a window's range ends, another begins."""
        if decided.directory.window_starts[decided.directory.window_at(decided.accepted_at)] == decided.index:
            self._append_leaves()
            self._roots[decided.index] = self._edge.root()

    def _append_leaves(self) -> None:
        self._edge = append(self._edge, self._leaf_hashes).edge
        self._leaf_hashes = []

    def _count(self, decided: DecidedEntry) -> None:
        match decided.message:
            case SignedPresentment(_, presentment, _):
                for transaction, result in zip(presentment.transactions, decided.results, strict=True):
                    self.outcomes[type(transaction.kind).__name__, result.outcome] += 1
            case SignedInstruction(_, instruction, _):
                assert decided.instruction_outcome is not None
                self.outcomes[type(instruction.action).__name__, decided.instruction_outcome] += 1


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
    if logged.links != decided.links:
        raise ReplayDifference(index, f"the log says {logged.links}, and by the entries before it {decided.links}")
