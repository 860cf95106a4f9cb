"""The versions of the rules, and which of them decides an entry.

A change of what messages mean is a new version beside the old one, so that old months replay to the letter. The log
says which version decides what: its first entry, and from a window on the newest adoption. Whoever decides looks it up
here, the writer, the auditor's replay and the gateway alike.

The settlement has versions of its own. What they do stands in ``settlement.versions``, which this package does not
import; here stand their numbers, because a log must not adopt one that nobody can settle by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from clearing.errors import ErrorReason, Rejection
from clearing.model import (
    Action,
    AdoptRules,
    CreateAlliance,
    EntryIndex,
    Instant,
    Instruction,
    KeyId,
    Presentment,
)
from clearing.rules.authority import (
    require_current_instruction,
    require_current_presentment,
    require_instructor,
    require_presenter,
)
from clearing.rules.case import InstructionDecision, SettlementOf
from clearing.rules.directory import Directory
from clearing.rules.instruction import decide_founding, decide_instruction
from clearing.rules.ledger import Ledger
from clearing.rules.presentment import AlreadyDecided, PresentmentDecision, decide_presentment


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of the rules: who may sign, and what messages come to."""

    require_presenter: Callable[[Directory, Presentment, tuple[KeyId, ...]], None]
    require_current_presentment: Callable[[Directory, Presentment, tuple[KeyId, ...], Instant], None]
    require_instructor: Callable[[Directory, Instruction, tuple[KeyId, ...]], None]
    require_current_instruction: Callable[[Directory, Instruction, tuple[KeyId, ...], Instant], None]
    decide_presentment: Callable[[Directory, Ledger, Presentment, Instant, EntryIndex], PresentmentDecision]
    decide_instruction: Callable[
        [Directory, Ledger, Instruction, Instant, EntryIndex, tuple[KeyId, ...], SettlementOf],
        InstructionDecision | AlreadyDecided,
    ]
    decide_founding: Callable[[Instruction, Instant], InstructionDecision]


RULES: Final[dict[int, Rules]] = {
    1: Rules(
        require_presenter=require_presenter,
        require_current_presentment=require_current_presentment,
        require_instructor=require_instructor,
        require_current_instruction=require_current_instruction,
        decide_presentment=decide_presentment,
        decide_instruction=decide_instruction,
        decide_founding=decide_founding,
    ),
}
"""The versions that this program has."""

SETTLEMENT_VERSIONS: Final[set[int]] = {1}
"""The versions of the settlement that this program has."""


def rules_at(directory: Directory, at: Instant) -> Rules:
    """The rules that decide an entry accepted at ``at``. Raises ``Rejection`` with UNKNOWN_VERSION."""
    return _rules_of(directory.versions_in(directory.window_at(at)).rules)


def founding_rules(founding: CreateAlliance) -> Rules:
    """The rules that decide a log's first entry. Raises ``Rejection`` with UNKNOWN_VERSION."""
    require_known(founding)
    return _rules_of(founding.rules_version)


def require_known(action: Action) -> None:
    """Refuse with UNKNOWN_VERSION to begin or adopt versions that this program does not have.

    It is never logged: another program may have them.
    """
    if isinstance(action, AdoptRules | CreateAlliance):
        _rules_of(action.rules_version)
        if action.settlement_version not in SETTLEMENT_VERSIONS:
            raise _unknown("settlement", action.settlement_version, SETTLEMENT_VERSIONS)


def _rules_of(version: int) -> Rules:
    rules = RULES.get(version)
    if rules is None:
        raise _unknown("rules", version, RULES.keys())
    return rules


def _unknown(what: str, version: int, known: Iterable[int]) -> Rejection:
    has = ", ".join(map(str, sorted(known)))
    return Rejection(
        ErrorReason.UNKNOWN_VERSION,
        f"version {version} of the {what} is asked for, and this program has {has}; install one that has it, on every "
        "machine that serves, stands by or audits",
    )
