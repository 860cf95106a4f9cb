"""Which baskets are presented together, so that it is fast and comes to what one basket after the other would come to.

A wave is a run of baskets, in the order of time, in which no household occurs twice and that does not go beyond a
local day. So the earns of a wave touch each card once, the burns that they bring about follow before the next wave,
and every card sees its transactions in the order of time. Waves depend on the file and the settings alone, never on
answers: a run that was interrupted cuts the same waves again, and the ledger hears the same presentments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from clearing.calendar import LocalCalendar
from clearing.card_token import derived_token
from clearing.model import POINTS_PER_TRANSACTION_MAX, CardToken, Instant, MerchantId, Points, StoreId
from merchant_gateway.client.baskets.basket_file import Basket
from merchant_gateway.client.baskets.csv_file import CsvFileError, Fault
from merchant_gateway.client.baskets.errors import BasketJobError

BASKETS_PER_WAVE_MAX = 126
"""All one merchant's, opening cards, with the longest identifiers, they still fit into a presentment of 40 KiB."""


@dataclass(frozen=True, slots=True)
class BasketRules:
    """By what baskets earn and burn. Raises ``BasketJobError``."""

    points_per_major_unit: Decimal
    """Points that one major unit of the currency earns; what a basket earns is rounded down to whole points."""
    burn_points: Points
    """As soon as a card can spend so many, exactly so many are burned."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not self.points_per_major_unit.is_finite() or self.points_per_major_unit <= 0:
            raise BasketJobError("the points per major unit of the currency must be a number above 0")
        if not 1 <= self.burn_points <= POINTS_PER_TRANSACTION_MAX:
            raise BasketJobError(f"the points of a burn must be 1 to {POINTS_PER_TRANSACTION_MAX:,}")

    def points_of(self, amount_minor: int, currency_decimals: int) -> Points:
        """What an amount earns, exactly, rounded down."""
        return Points(int(Fraction(self.points_per_major_unit) * amount_minor / 10**currency_decimals))


@dataclass(frozen=True, slots=True)
class PlannedBasket:
    """A basket that earns."""

    basket: Basket
    merchant: MerchantId
    card: CardToken
    points: Points


@dataclass(frozen=True, slots=True)
class Wave:
    """Baskets that are presented together, in the order of time."""

    baskets: tuple[PlannedBasket, ...]

    @property
    def presented_at(self) -> Instant:
        """When all of it had happened: the time of its last basket."""
        return self.baskets[-1].basket.purchased_at


@dataclass(frozen=True, slots=True)
class BasketPlan:
    """All that a file comes to."""

    waves: tuple[Wave, ...]
    baskets_without_points: int
    """Whose amount earns less than one point: nothing is presented for them."""

    @property
    def baskets(self) -> int:
        """Number of baskets in the file."""
        return self.baskets_without_points + sum(len(wave.baskets) for wave in self.waves)


def plan_baskets(
    path: Path,
    baskets: Sequence[Basket],
    rules: BasketRules,
    merchants: Mapping[StoreId, MerchantId],
    card_secret: bytes,
    *,
    currency_decimals: int,
    calendar: LocalCalendar,
) -> BasketPlan:
    """The plan for baskets in the order of time.

    Raises ``CsvFileError`` with every line of ``path`` whose store has no merchant or that earns more than a
    transaction may move.
    """
    faults: list[Fault] = []
    planned: list[PlannedBasket] = []
    cards: dict[str, CardToken] = {}
    for basket in baskets:
        merchant = merchants.get(basket.store)
        if merchant is None:
            faults.append(Fault(basket.line, f"store_id: no merchant is given for the store {basket.store!r}"))
            continue
        points = rules.points_of(basket.amount_minor, currency_decimals)
        if points > POINTS_PER_TRANSACTION_MAX:
            faults.append(
                Fault(basket.line, f"amount: earns {points:,} points; {POINTS_PER_TRANSACTION_MAX:,} is the most")
            )
            continue
        if points == 0:
            continue
        if basket.household_id not in cards:
            cards[basket.household_id] = derived_token(card_secret, basket.household_id)
        planned.append(PlannedBasket(basket, merchant, cards[basket.household_id], points))
    if faults:
        raise CsvFileError(path, sorted(faults))
    return BasketPlan(tuple(cut_waves(planned, calendar)), len(baskets) - len(planned))


def cut_waves(planned: Iterable[PlannedBasket], calendar: LocalCalendar) -> Iterator[Wave]:
    """The waves of baskets in the order of time."""
    wave: list[PlannedBasket] = []
    cards: set[CardToken] = set()
    day = None
    for each in planned:
        its_day = calendar.date_at(each.basket.purchased_at)
        if wave and (each.card in cards or its_day != day or len(wave) == BASKETS_PER_WAVE_MAX):
            yield Wave(tuple(wave))
            wave, cards = [], set()
        day = its_day
        wave.append(each)
        cards.add(each.card)
    if wave:
        yield Wave(tuple(wave))
