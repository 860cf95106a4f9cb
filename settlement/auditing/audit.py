"""The auditor's check of an exported log: from a folder and one public key to the certainty that everything adds up.

1. checkpoint   signed by the alliance's log key; no file but the log's                 ``folder``
2. evidence     what others kept of the log, if any is given: the log has only grown    ``evidence``
3. leaves       every entry, hash tile and the root against the checkpoint              ``folder``
4. replay       signatures under the keys valid at each entry, and every outcome        ``replay``
5. settlement   part of the replay: proposals and approvals are judged by what the log settles to, computed again
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
from clearing.deciding.decision import DecidedEntry
from clearing.log.checkpoint import Checkpoint
from clearing.log.folder import FolderError, LogFolder, read_log_folder
from clearing.log.note import Verifier
from clearing.model import EntryIndex, KeyId, Outcome, WindowId
from clearing.rules.invariants import violations
from clearing.rules.ledger import Ledger
from settlement.auditing.export_files import AuditDifference, compare_statements, require_no_other_tiles
from settlement.versions import judged

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
        with Replay(folder.entry, judged) as replay:
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
    for leaf in folder.entries():  # 3
        decided = replay.step(leaf)  # 4, 5
        if decided.index == 0:
            _check_founding(decided, folder.verifier)
        if progress is not None:
            progress(replay.size, folder.checkpoint.size)
    replay.finish()
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
        points_outstanding=sum(card.points_in_lots for card in replay.ledger.cards.values()),
        windows_closed=tuple(closed),
        windows_proposed=tuple(window for window, state in closed.items() if state.proposal is not None),
        statement_digests=sum(1 + state.proposal.statements for state in closed.values() if state.proposal is not None),
        statement_files=files,
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


def _check_invariants(replay: Replay) -> None:
    found = violations(replay.books, Ledger(replay.ledger.cards))  # references are checked as they are decided
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise AuditDifference(f"after entry {replay.size - 1} the books do not hold: {found[0]}{more}")
