"""The auditor's check of an exported log: from a folder and one public key to the certainty that everything adds up.

1. checkpoint   signed by the alliance's log key                                       ``clearing.log.folder``
2. leaves       every entry, hash tile and the root against the checkpoint              ``clearing.log.folder``
3. replay       signatures under the keys valid at each entry, and every outcome        ``clearing.replay``
4. settlement   every proposal's statements and payments, computed again from the log
5. invariants   the books against the cards                                             ``clearing.rules.invariants``
6. statements   files handed over with the log, against the digests in it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from clearing.authentication import SignedInstruction
from clearing.contract.entry import decode_entry
from clearing.decision import DecidedEntry
from clearing.errors import ClearingError
from clearing.log.checkpoint import Checkpoint
from clearing.log.folder import read_log_folder
from clearing.log.note import Verifier
from clearing.model import ApproveSettlement, EntryIndex, KeyId, Outcome, ProposeSettlement, WindowId
from clearing.replay import Replay
from clearing.rules.directory import Directory
from clearing.rules.invariants import violations
from settlement.files import StatementFormat, statement_file_name
from settlement.month_end import settle
from settlement.proposal import proposal_of

STATEMENTS_FOLDER = "statements"
"""Beside the log's own files: ``statements/YYYY-MM/`` with the statements in JSON, as they were handed over."""

Progress = Callable[[int, int], None]
"""Told how many of how many entries are checked."""


class AuditDifference(ClearingError):
    """Something in the export is not what the log itself makes of it."""


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
    statement_files: int
    replaced_proposals: tuple[str, ...]
    """What was wrong with proposals that were corrected before anybody approved them."""
    to_review: dict[KeyId, list[EntryIndex]]
    """Entries signed by keys that somebody else may have had at the time."""


def verify_export(directory: Path, verifier: Verifier, progress: Progress | None = None) -> AuditReport:
    """Check the export in ``directory`` under the alliance's log key.

    Raises ``FolderError``, ``ReplayDifference`` or ``AuditDifference`` on the first thing that is not right, naming the
    entry.
    """
    folder = read_log_folder(directory, verifier)  # 1
    replay = Replay()
    digests = 0
    false_proposals: dict[WindowId, str] = {}
    """By window: what is wrong with the proposal that stands."""
    replaced: list[str] = []
    for leaf in folder.entries():  # 2
        decided = replay.step(leaf)  # 3
        if isinstance(decided.message, SignedInstruction):
            if decided.index == 0:
                _check_founding(decided, verifier)
            digests += _check_settlement(replay, decided, false_proposals, replaced)  # 4
        if progress is not None:
            progress(replay.size, folder.checkpoint.size)
    for difference in false_proposals.values():
        raise AuditDifference(difference)
    _check_invariants(replay)  # 5
    assert replay.directory is not None, "a checkpoint's tree has entries"
    files = _check_statement_files(directory / STATEMENTS_FOLDER, replay.directory)  # 6
    closed = replay.directory.closed_windows
    return AuditReport(
        checkpoint=folder.checkpoint,
        entries=replay.size,
        signatures=replay.signatures,
        outcomes=replay.outcomes,
        cards=len(replay.ledger.cards),
        points_outstanding=sum(card.points_held() for card in replay.ledger.cards.values()),
        windows_closed=tuple(closed),
        windows_proposed=tuple(window for window, state in closed.items() if state.proposal is not None),
        statement_digests=digests,
        statement_files=files,
        replaced_proposals=tuple(replaced),
        to_review=replay.entries_since_compromise(),
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
    result = decode_entry(decided.leaf).instruction_result
    if result is None or result.outcome is not Outcome.ACCEPTED:
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
    settled = settle(
        decided.directory,
        window,
        replay.flows_before(window),
        replay.flows_during(window),
        replay.root_at(end_index),
    )
    computed = proposal_of(settled)
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
    found = violations(replay.books, replay.ledger)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise AuditDifference(f"after entry {replay.size - 1} the books do not hold: {found[0]}{more}")


def _check_statement_files(folder: Path, directory: Directory) -> int:
    """Compare the statement files that came with the log with the digests in it; how many were compared."""
    compared = 0
    for window, closed in directory.closed_windows.items():
        if closed.proposal is None:
            continue
        digests = [(None, closed.proposal.alliance_statement_digest), *closed.proposal.statement_digests]
        for merchant, digest in digests:
            path = folder / window / statement_file_name(merchant, StatementFormat.JSON)
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise AuditDifference(f"{path}: cannot be read: {error.strerror}") from None
            if sha256(content).digest() != digest:
                raise AuditDifference(
                    f"{path}: has the digest {sha256(content).hexdigest()}, and {digest.hex()} is logged for {window}"
                )
            compared += 1
    return compared
