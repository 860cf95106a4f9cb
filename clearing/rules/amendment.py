"""Amend constitution: numbers of the constitution change on a local day that everybody is told of before."""

from __future__ import annotations

import datetime
from dataclasses import replace

from clearing.model import AmendConstitution, CreateAlliance, Outcome
from clearing.rules.case import Case
from clearing.rules.directory import Amendment, Directory


def amend_constitution(case: Case, action: AmendConstitution) -> Directory | Outcome:
    """The directory with this amendment.

    Of amendments that begin on one day the one decided last has its way in what both name, so one to come can be taken
    back as long as the notice allows: by an amendment of the same day to what holds before it.
    """
    directory = case.directory
    notice = datetime.timedelta(days=directory.constitution_on(case.today).notice_days)
    if action.effective_from < case.today + notice:
        return Outcome.AMENDMENT_TOO_SOON
    amendments = sorted(
        (*directory.amendments, Amendment(case.entry_index, action)), key=lambda each: each.action.effective_from
    )
    before = directory.constitution_on(action.effective_from)
    amended = replace(directory, amendments=tuple(amendments), amended=_amended(directory.constitution, amendments))
    if amended.constitution_on(action.effective_from) == before:
        return Outcome.CONSTITUTION_UNCHANGED
    return amended


def _amended(
    constitution: CreateAlliance, amendments: list[Amendment]
) -> tuple[tuple[datetime.date, CreateAlliance], ...]:
    dated: dict[datetime.date, CreateAlliance] = {}
    for amendment in amendments:
        constitution = _with(constitution, amendment.action)
        dated[amendment.action.effective_from] = constitution
    return tuple(dated.items())


def _with(constitution: CreateAlliance, action: AmendConstitution) -> CreateAlliance:
    def amended(number: int, change: int | None) -> int:
        return number if change is None else change

    return replace(
        constitution,
        late_presentment_days=amended(constitution.late_presentment_days, action.late_presentment_days),
        lot_lifetime_months=amended(constitution.lot_lifetime_months, action.lot_lifetime_months),
        notice_days=amended(constitution.notice_days, action.notice_days),
    )
