"""The versions of the settlement, and which of them settles a window.

A change of what a window settles to, or of a byte of the statements whose digests stand in the log, is a new version: a
folder beside ``settlement.v1``, whose code is never touched again. The log says which version settles what
(``Directory.versions_in``): that of the window's first entry, or without entries that in force at its end. Whoever
settles looks it up here, the gateway and the audit alike.

``clearing.rules.versions.SETTLEMENT_VERSIONS`` names the same versions, since a log must not adopt one that nobody can
settle by, and clearing does not import settlement; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from clearing.model import MerchantId, ProposeSettlement, WindowId
from clearing.rules.directory import Directory
from clearing.rules.movements import Flow
from settlement.v1.errors import UnknownSettlementVersionError
from settlement.v1.month_end import settle, settle_upon
from settlement.v1.points import PointsByMovement
from settlement.v1.proposal import SettlementProofs, proofs_of, proposal_of
from settlement.v1.report_json import alliance_json, merchant_json
from settlement.v1.statements import MerchantStatement, Settlement


@dataclass(frozen=True, slots=True)
class SettlementRules:
    """One version of the settlement: from flows to statements, and the bytes that the log holds the digests of."""

    settle: Callable[[Directory, WindowId, Iterable[Flow], Iterable[Flow], bytes], Settlement]
    settle_upon: Callable[
        [Directory, WindowId, Mapping[MerchantId, PointsByMovement], Iterable[Flow], bytes], Settlement
    ]
    proposal_of: Callable[[Settlement], ProposeSettlement]
    proofs_of: Callable[[Settlement], SettlementProofs]
    alliance_json: Callable[[Settlement], bytes]
    merchant_json: Callable[[MerchantStatement], bytes]


SETTLEMENTS: Final[dict[int, SettlementRules]] = {
    1: SettlementRules(
        settle=settle,
        settle_upon=settle_upon,
        proposal_of=proposal_of,
        proofs_of=proofs_of,
        alliance_json=alliance_json,
        merchant_json=merchant_json,
    ),
}
"""The versions that this program has."""


def settlement_rules(version: int) -> SettlementRules:
    """The settlement's rules of a version. Raises ``UnknownSettlementVersionError``."""
    rules = SETTLEMENTS.get(version)
    if rules is None:
        raise UnknownSettlementVersionError(version, SETTLEMENTS)
    return rules


def judged(
    directory: Directory, window: WindowId, before: Iterable[Flow], during: Iterable[Flow], log_root: bytes
) -> ProposeSettlement:
    """What the closed window settles to, in the words of a proposal, from the flows of its log.

    Raises ``UnknownSettlementVersionError``, and what the version's ``settle`` raises.
    """
    rules = settlement_rules_of(directory, window)
    return rules.proposal_of(rules.settle(directory, window, before, during, log_root))


def settlement_rules_of(directory: Directory, window: WindowId) -> SettlementRules:
    """The rules that settle this window. Raises ``UnknownSettlementVersionError``."""
    return settlement_rules(directory.versions_in(window).settlement)
