"""Kills at random instants under load, and what must hold after every recovery."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from merchant_gateway.client.gateway_channel import GatewayChannel
from merchant_gateway.client.log_export import LogExporter
from settlement.auditing.audit import verify_export
from tests.integration.alliance import ORIGIN
from tests.integration.house import Blow, House
from tests.integration.onlooker import Onlooker
from tests.integration.tills import Tills, at_work
from tests.integration.witness import Witness

PAUSE_SECONDS_MAX = 0.25
"""Before the next blow, at random."""
UNPREPARED = 0.2
"""The share of blows that are followed by the next before anybody has recovered."""
ATTEMPT_SECONDS = 5
ASKED_AGAIN = 60
"""Envelopes of all that were answered, sent again after each recovery."""


@dataclass(slots=True)
class Figures:
    """What came of it."""

    blows: Counter[Blow] = field(default_factory=Counter)
    recovery_seconds: list[float] = field(default_factory=list)
    """From the start of what was killed until every till was answered."""
    envelopes: int = 0
    """Answered."""
    interruptions: int = 0
    """Attempts without an answer."""
    committed_unheard: int = 0
    """Calls that had been committed when their answer was lost."""
    never_committed: int = 0
    """Interrupted calls that had not."""
    checkpoints: int = 0
    """Different ones handed out."""

    def note(self, tills: Tills, witness: Witness) -> None:
        """How far the tills have come."""
        self.envelopes = len(tills.everything())
        self.interruptions = len(tills.interruptions)
        self.committed_unheard = sum(tills.heard_late)
        self.never_committed = len(tills.heard_late) - self.committed_unheard
        self.checkpoints = witness.checkpoints


def endure(a_house: House, blows: Sequence[Blow], seed: int, progress: Callable[[Figures], None]) -> Figures:
    """Strike these blows under load; after each recovery, everything must be as it was acknowledged.

    ``progress`` is told after each recovery. Any error carries the seed.
    """
    figures = Figures()
    try:
        _endure(a_house, blows, random.Random(seed), figures, progress)
    except BaseException as error:
        error.add_note(f"seed {seed}, blow {figures.blows.total()} of {len(blows)}")
        raise
    return figures


def _endure(
    a_house: House, blows: Sequence[Blow], choices: random.Random, figures: Figures, progress: Callable[[Figures], None]
) -> None:
    alliance = a_house.alliance
    entries_before = alliance.log_size()
    with (
        at_work(alliance, choices.randrange(1 << 32), ATTEMPT_SECONDS) as tills,
        Onlooker(alliance, ATTEMPT_SECONDS) as onlooker,
    ):
        witness = Witness(alliance)
        tills.wait_for_every_till()
        for number, blow in enumerate(blows, 1):
            time.sleep(choices.uniform(0, PAUSE_SECONDS_MAX))
            a_house.strike(blow, choices, partial(tills.wait_within_a_call, choices.random()))
            figures.blows[blow] += 1
            started = time.monotonic()
            a_house.get_up()
            if choices.random() < UNPREPARED and number < len(blows):
                continue
            a_house.wait_until_serving()
            tills.wait_for_every_till()
            figures.recovery_seconds.append(time.monotonic() - started)
            answered, notes = tills.everything(), onlooker.notes()
            witness.check(answered, choices.sample(answered, min(ASKED_AGAIN, len(answered))), notes)
            a_house.require_no_defects()
            figures.note(tills, witness)
            progress(figures)
    # Each envelope is one entry, and so was the opening of each till's card.
    assert alliance.log_size() == entries_before + len(tills.cards) + len(tills.everything())
    tills.verify(witness, onlooker.notes())
    figures.note(tills, witness)
    a_house.require_no_defects()
    _audit(a_house, sum(till.points for till in tills.tills))


def _audit(a_house: House, points: int) -> None:
    """The whole log, as an auditor checks it offline, comes to these points."""
    alliance = a_house.alliance
    export = a_house.folder / f"export-{time.monotonic_ns()}"
    with GatewayChannel(a_house.address, ORIGIN) as channel:
        LogExporter(channel, alliance.log_key.verifier, alliance.operator).export(export)
    report = verify_export(export, alliance.log_key.verifier)
    assert (report.entries, report.points_outstanding) == (alliance.log_size(), points)
