"""What holds in an alliance on a day, by the gateway's word, and changing it."""

from __future__ import annotations

from typing import NamedTuple

from back_office.client.instructing import Unsigned
from clearing.contract.bounds import AMENDABLE
from clearing.contract.decoding import content_digest
from clearing.v1.instruction_pb2 import AdoptRules, AmendConstitution, Instruction
from clearing.v1.operations_pb2 import GetAllianceResponse


class Change(NamedTuple):
    """One number of the constitution, before and after an amendment."""

    name: str
    now: int
    """In force today."""
    before: int
    """On the amendment's first day, without it."""
    after: int
    """On that day, with it."""


class Versions(NamedTuple):
    """By what a window is decided and settled."""

    rules: int
    settlement: int


def numbers_on(alliance: GetAllianceResponse, day: str) -> dict[str, int]:
    """The numbers that can be amended, as they are in force on a local day (YYYY-MM-DD) from today on."""
    numbers: dict[str, int] = {name: getattr(alliance.constitution, name) for name in AMENDABLE}
    for each in alliance.amendments:
        if each.amendment.effective_from <= day:
            numbers |= _named(each.amendment)
    return numbers


def changes_of(alliance: GetAllianceResponse, amendment: AmendConstitution) -> list[Change]:
    """All numbers that can be amended, with what this amendment, decided now, makes of them on its first day."""
    before = numbers_on(alliance, amendment.effective_from)
    after = before | _named(amendment)
    return [Change(name, getattr(alliance.constitution, name), before[name], after[name]) for name in AMENDABLE]


def versions_in(alliance: GetAllianceResponse, window: str) -> Versions:
    """The versions of a window (YYYY-MM) from the ledger's on."""
    versions = Versions(alliance.constitution.rules_version, alliance.constitution.settlement_version)
    for each in alliance.adoptions:
        if each.adoption.window <= window:
            versions = Versions(each.adoption.rules_version, each.adoption.settlement_version)
    return versions


def amending(amendment: AmendConstitution) -> Unsigned:
    """Amend the constitution; it takes two people."""
    digest = content_digest(amendment).hex()[:12]
    return Unsigned(Instruction(amend_constitution=amendment), ("amend", amendment.effective_from, digest))


def adopting(adoption: AdoptRules) -> Unsigned:
    """Adopt versions of the rules and of the settlement; it takes two people."""
    versions = (f"rules-{adoption.rules_version}", f"settlement-{adoption.settlement_version}")
    return Unsigned(Instruction(adopt_rules=adoption), ("adopt", adoption.window, *versions))


def _named(amendment: AmendConstitution) -> dict[str, int]:
    """What the amendment sets."""
    return {name: getattr(amendment, name) for name in AMENDABLE if amendment.HasField(name)}  # type: ignore[arg-type]  # the stubs know literal names only
