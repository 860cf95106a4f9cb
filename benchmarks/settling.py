"""How long a window takes to settle, by the number of members: from its flows to statements, digests and roots.

Nothing but the settlement is measured: the alliances are made up here, and no database or gateway is needed.
"""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import typer

from back_office.cli.console import note, print_table
from benchmarks.signed_log import SignedLog
from clearing.log.merkle import EMPTY_ROOT
from clearing.model import EntryIndex, MerchantId, Points, WindowId, WindowRange
from clearing.rules.directory import ClosedWindow, Directory, Merchant, Prices
from clearing.rules.movements import Flow, Movement
from settlement.serving.collection import collection_paused
from settlement.versions import settlement_rules_of

FULL_MESH_BELOW: Final = 1_000
"""Of fewer members each redeems the points of every other; of more, those of ``COUNTERPARTIES``."""
COUNTERPARTIES: Final = 30
MEMBERS_MIN: Final = 2
MEMBERS_MAX: Final = 10_000
WINDOW: Final = WindowId("2026-03")
MONTHS_OF_ISSUE: Final = (datetime.date(2026, 1, 1), datetime.date(2026, 2, 1), datetime.date(2026, 3, 1))
"""Of the points that each member's customers burn at each of its counterparties in the window."""
ALLIANCE_PRICES: Final = (
    Prices(datetime.date(2026, 2, 1), Decimal("0.0110"), Decimal("0.0095")),
    Prices(datetime.date(2026, 3, 1), Decimal("0.0105"), Decimal("0.0085")),
)
"""With the founding's, a price for each month of issue: no two months share a line of a statement."""
MEMBERS_WITH_OWN_PRICE: Final = 3
"""Every third member has one."""
BURN_POINTS_MAX: Final = 100_000
FIRST_INDEX: Final = EntryIndex(1_000_000)
END_INDEX: Final = EntryIndex(2_000_000)
SEED: Final = 20260301
PRECISION: Final = 3


@dataclass(frozen=True, slots=True)
class FlowsToSettle:
    """An alliance with a closed window, and the flows that it is settled from."""

    directory: Directory
    before: tuple[Flow, ...]
    during: tuple[Flow, ...]

    def settle(self) -> bytes:
        """Settle the window, and return the root over its statements."""
        rules = settlement_rules_of(self.directory, WINDOW)
        settlement = rules.settle(self.directory, WINDOW, self.before, self.during, EMPTY_ROOT)
        return rules.proposal_of(settlement).statements_root


def members_of(text: str) -> tuple[int, ...]:
    """``100,300,1000``, each once and in this order. Raises ``typer.BadParameter``."""
    numbers = []
    for word in text.split(","):
        number = int(word) if word.isascii() and word.isdecimal() else 0
        if not MEMBERS_MIN <= number <= MEMBERS_MAX:
            raise typer.BadParameter(
                f"{word!r} is no number of members: give numbers from {MEMBERS_MIN} to {MEMBERS_MAX}, "
                "with commas between them, such as 100,300,1000"
            )
        numbers.append(number)
    return tuple(dict.fromkeys(numbers))


def measure_settlements(members: Iterable[int]) -> dict[int, float]:
    """Seconds of the clock that one settlement takes, for each number of members."""
    seconds = {}
    for number in members:
        made = flows_to_settle(number)
        note(f"settling {number:,} members, {counterparties(number):,} counterparties each: {len(made.during):,} flows")
        with collection_paused():  # as the gateway's settlement process does
            started = time.perf_counter()
            made.settle()
            seconds[number] = round(time.perf_counter() - started, PRECISION)
    return seconds


def print_settlements(seconds: dict[int, float]) -> None:
    """The table for people."""
    print_table(
        "One window settled: from its flows to statements, digests and roots",
        ("members", "counterparties each", "seconds"),
        [(f"{number:,}", f"{counterparties(number):,}", f"{took:.{PRECISION}f}") for number, took in seconds.items()],
        ("members", "counterparties each", "seconds"),
    )


def counterparties(members: int) -> int:
    """With how many others each of so many members exchanges points."""
    return members - 1 if members < FULL_MESH_BELOW else COUNTERPARTIES


def flows_to_settle(members: int) -> FlowsToSettle:
    """Such an alliance; the same for the same number."""
    names = tuple(MerchantId(f"member-{number:05d}") for number in range(members))
    founded = SignedLog(()).directory
    own = Prices(MONTHS_OF_ISSUE[1], None, Decimal("0.0099"))
    directory = replace(
        founded,
        merchants={name: Merchant(name, name.title()) for name in names},
        terms={(None, None): ALLIANCE_PRICES} | {(name, None): (own,) for name in names[::MEMBERS_WITH_OWN_PRICE]},
        closed_windows={WINDOW: ClosedWindow(WindowRange(FIRST_INDEX, END_INDEX), names)},
    )
    unit = founded.constitution.unit
    # More than can be burned, however many burn.
    enough = Points(BURN_POINTS_MAX * len(MONTHS_OF_ISSUE) * members)
    issued = [Flow(Movement.EARN, name, None, month, unit, enough) for name in names for month in MONTHS_OF_ISSUE]
    # The last month is the window itself: of its points there were none before.
    before = tuple(flow for flow in issued if flow.issued_in != MONTHS_OF_ISSUE[-1])
    earned = [flow for flow in issued if flow.issued_in == MONTHS_OF_ISSUE[-1]]
    return FlowsToSettle(directory, before, (*earned, *_redeemed(names, unit)))


def _redeemed(names: tuple[MerchantId, ...], unit: str) -> Iterator[Flow]:
    """Burns of each member's points at itself and at its counterparties, and one that was taken back at each."""
    drawn = random.Random(SEED)  # noqa: S311 - the same each time, and no secret
    around = counterparties(len(names))
    for place, issuer in enumerate(names):
        # The next ones in a circle, half of them on each side: so each is a counterparty of its counterparties.
        for distance in range(-(around // 2), around - around // 2 + 1):
            redeemer = names[(place + distance) % len(names)]
            for month in MONTHS_OF_ISSUE:
                burned = drawn.randint(1, BURN_POINTS_MAX)
                yield Flow(Movement.BURN, issuer, redeemer, month, unit, Points(burned))
                if month == MONTHS_OF_ISSUE[-1]:
                    yield Flow(Movement.BURN_REFUNDED, issuer, redeemer, month, unit, Points(burned // 10))
