"""The auditor's check of an exported log: from a folder and one public key to the certainty that everything adds up.

1. checkpoint   signed by the alliance's log key; no file but the log's                 ``folder``
2. evidence     what others kept of the log, if any is given: the log has only grown    ``evidence``
3. leaves       every entry, hash tile and the root against the checkpoint              ``folder``
4. replay       signatures under the keys valid at each entry, and every outcome        ``replay``
5. settlement   every proposal's statements and payments, computed again from the log
6. invariants   the books against the cards                                             ``invariants``
7. statements   each that is proposed is there, with the digest in the log; no others   ``export_files``
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clearing.audit.evidence import Evidence
from clearing.audit.replay import Replay
from clearing.deciding.authentication import SignedInstruction
from clearing.deciding.decision import DecidedEntry
from clearing.log.checkpoint import Checkpoint
from clearing.log.folder import FolderError, LogFolder, read_log_folder
from clearing.log.note import Verifier
from clearing.model import ApproveSettlement, EntryIndex, KeyId, Outcome, ProposeSettlement, WindowId
from clearing.rules.invariants import violations
from clearing.rules.ledger import Ledger
from settlement.auditing.export_files import AuditDifference, compare_statements, require_no_other_tiles
from settlement.versions import settlement_rules_of

Progress = Callable[[int, int], None]
"""Told how many of how many entries are checked."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was checked, and found right."""

    checkpoint: Checkpoint
    entries: int
    signatures: int
    outcomes: Counter[tuple[str, Outcome]]
    """By kind of transaction or instruction."""
    cards: int
    points_outstanding: int
    """Points on all cards."""
    windows_closed: tuple[WindowId, ...]
    windows_proposed: tuple[WindowId, ...]
    """Those whose settlement was computed again."""
    statement_digests: int
    statement_files: int | None
    """Those compared; None if only the log was checked."""
    replaced_proposals: tuple[str, ...]
    """What was wrong with proposals that were corrected before anybody approved them."""
    to_review: dict[KeyId, list[EntryIndex]]
    """Entries signed by keys that somebody else may have had at the time."""
    earlier_checkpoints: int
    """Those kept by others, found again."""
    earlier_entries: int
    """The same of entries."""


def verify_export(
    directory: Path,
    verifier: Verifier,
    progress: Progress | None = None,
    *,
    evidence: Evidence | None = None,
    with_statements: bool = True,
) -> AuditReport:
    """Check the export in ``directory`` under the alliance's log key.

    ``evidence`` is what others kept of the log before. Without statements the log alone is checked.
    Raises ``FolderError``, ``TwoLogsError``, ``ReplayDifference`` or ``AuditDifference`` on the first thing that is not
    right, naming the entry or file.
    """
    folder = read_log_folder(directory, verifier)  # 1
    require_no_other_tiles(directory, folder.checkpoint.size)
    if evidence is not None:
        evidence.require_kept_by(folder)  # 2
    try:
        with Replay(folder.entry) as replay:
            return _verify_entries(folder, replay, progress, evidence, with_statements)
    except OSError as error:
        raise FolderError(
            f"the audit cannot keep its temporary files in {tempfile.gettempdir()}: {error.strerror}; make room there, "
            "or name another folder in TMPDIR",
            tempfile.gettempdir(),
        ) from None


def _verify_entries(
    folder: LogFolder, replay: Replay, progress: Progress | None, evidence: Evidence | None, with_statements: bool
) -> AuditReport:
    """Steps 3 to 7."""
    digests = 0
    false_proposals: dict[WindowId, str] = {}
    """By window: what is wrong with the proposal that stands."""
    replaced: list[str] = []
    for leaf in folder.entries():  # 3
        decided = replay.step(leaf)  # 4
        if isinstance(decided.message, SignedInstruction):
            if decided.index == 0:
                _check_founding(decided, folder.verifier)
            digests += _check_settlement(replay, decided, false_proposals, replaced)  # 5
        if progress is not None:
            progress(replay.size, folder.checkpoint.size)
    replay.finish()
    for difference in false_proposals.values():
        raise AuditDifference(difference)
    _check_invariants(replay)  # 6
    assert replay.directory is not None, "a checkpoint's tree has entries"
    files = compare_statements(folder.directory, replay.directory) if with_statements else None  # 7
    closed = replay.directory.closed_windows
    return AuditReport(
        checkpoint=folder.checkpoint,
        entries=replay.size,
        signatures=replay.signatures,
        outcomes=replay.outcomes,
        cards=len(replay.ledger.cards),
        points_outstanding=sum(card.points_held for card in replay.ledger.cards.values()),
        windows_closed=tuple(closed),
        windows_proposed=tuple(window for window, state in closed.items() if state.proposal is not None),
        statement_digests=digests,
        statement_files=files,
        replaced_proposals=tuple(replaced),
        to_review=replay.entries_since_compromise(),
        earlier_checkpoints=evidence.checkpoints if evidence is not None else 0,
        earlier_entries=evidence.entries if evidence is not None else 0,
    )


def _check_founding(founding: DecidedEntry, verifier: Verifier) -> None:
    named = founding.directory.constitution.log_verifier
    if named != verifier.vkey:
        raise AuditDifference(
            f"entry 0: the alliance was founded with the log key {named}, and --key is {verifier.vkey}"
        )


def _check_settlement(
    replay: Replay, decided: DecidedEntry, false_proposals: dict[WindowId, str], replaced: list[str]
) -> int:
    """Settle a proposed window again and compare; how many digests were compared.

    A false proposal that a later one replaces has settled nothing: it is reported. One that is approved, or that stands
    at the end, is a difference; else whoever may propose could spoil every later audit.
    """
    assert isinstance(decided.message, SignedInstruction)
    action = decided.message.instruction.action
    if decided.instruction_outcome is not Outcome.ACCEPTED:
        return 0
    if isinstance(action, ApproveSettlement) and action.proposal.window in false_proposals:
        raise AuditDifference(false_proposals[action.proposal.window])
    if not isinstance(action, ProposeSettlement):
        return 0
    if action.window in false_proposals:
        replaced.append(false_proposals.pop(action.window))
    try:
        return _compare_proposal(replay, decided, action)
    except AuditDifference as difference:
        false_proposals[action.window] = str(difference)
        return 0


def _compare_proposal(replay: Replay, decided: DecidedEntry, proposed: ProposeSettlement) -> int:
    window = proposed.window
    end_index = decided.directory.closed_windows[window].range.end_index
    rules = settlement_rules_of(decided.directory, window)
    settled = rules.settle(
        decided.directory,
        window,
        replay.flows_before(window),
        replay.flows_during(window),
        replay.root_at(end_index),
    )
    computed = rules.proposal_of(settled)
    where = f"entry {decided.index}: the settlement proposed for {window}"
    if proposed.alliance_statement_digest != computed.alliance_statement_digest:
        raise AuditDifference(
            f"{where}: the alliance's statement has the digest {computed.alliance_statement_digest.hex()}, "
            f"and {proposed.alliance_statement_digest.hex()} is logged"
        )
    for (merchant, logged), (_, digest) in zip(proposed.statement_digests, computed.statement_digests, strict=True):
        if logged != digest:
            raise AuditDifference(
                f"{where}: the statement of {merchant} has the digest {digest.hex()}, and {logged.hex()} is logged"
            )
    if proposed.payments != computed.payments:
        raise AuditDifference(
            f"{where}: the payments are {proposed.payments}, and the log settles by {computed.payments}"
        )
    return 1 + len(computed.statement_digests)


def _check_invariants(replay: Replay) -> None:
    found = violations(replay.books, Ledger(replay.ledger.cards))  # references are checked as they are decided
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise AuditDifference(f"after entry {replay.size - 1} the books do not hold: {found[0]}{more}")
