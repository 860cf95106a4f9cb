"""Adopt rules: from a window on, versions of the rules and of the settlement hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from clearing.model import AdoptRules, Outcome
from clearing.rules.case import Case
from clearing.rules.directory import Adoption, Directory, Versions


def adopt_rules(case: Case, action: AdoptRules) -> Directory | Outcome:
    """The directory with this adoption, in place of one to come for the same window.

    A window that has begun keeps its versions, so that each is decided and settled by one. Whether this program has
    them is no rule: what it does not have it must neither accept nor refuse for good (``clearing.rules.versions``).
    """
    directory, window = case.directory, action.window
    if window <= directory.window_at(case.accepted_at):
        return Outcome.ADOPTION_TOO_SOON
    adopted = Versions(action.rules_version, action.settlement_version)
    if adopted == directory.versions_in(window):
        return Outcome.VERSIONS_UNCHANGED
    others = [each for each in directory.adoptions if each.action.window != window]
    adoptions = sorted((*others, Adoption(case.entry_index, action)), key=lambda each: each.action.window)
    changed = replace(directory, adoptions=tuple(adoptions))
    in_order = [changed.versions_in(directory.founded_in)]
    in_order += [Versions(each.action.rules_version, each.action.settlement_version) for each in adoptions]
    for earlier, later in pairwise(in_order):
        if later.rules < earlier.rules or later.settlement < earlier.settlement:
            return Outcome.VERSION_GOES_BACK
    return changed
