"""Points of a window: each issuer's account from opening to closing, and who redeemed whose points.

An issuer's outstanding points are what it still has to honour: points on cards, less what cards owe it because an
earn was taken back after the points had been spent (``clearing.rules.debt``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clearing.errors import require_identity
from clearing.model import MerchantId
from clearing.rules.movements import MOVEMENTS, Flow, Movement
from settlement.v1.errors import InconsistentFlowsError

# How each movement changes an issuer's accounts.
ISSUED: Mapping[Movement, int] = {movement: row.issued for movement, row in MOVEMENTS.items() if row.issued}
REDEEMED: Mapping[Movement, int] = {movement: row.redeemed for movement, row in MOVEMENTS.items() if row.redeemed}
EXPIRED: Mapping[Movement, int] = {movement: row.expired for movement, row in MOVEMENTS.items() if row.expired}
ON_CARDS: Mapping[Movement, int] = {movement: row.on_cards for movement, row in MOVEMENTS.items() if row.on_cards}
OWED_BY_CARDS: Mapping[Movement, int] = {
    movement: row.owed_by_cards for movement, row in MOVEMENTS.items() if row.owed_by_cards
}

PointsByMovement = Mapping[Movement, int]


@dataclass(frozen=True, slots=True)
class OutstandingPoints:
    """What an issuer has to honour at one moment."""

    on_cards: int
    """In open lots on cards, those past their date and not yet booked as expired included."""
    owed_by_cards: int
    """Card debt: points taken back after they had been spent, to be repaid out of later points."""

    @property
    def outstanding(self) -> int:
        """What remains: on cards, less owed by cards."""
        return self.on_cards - self.owed_by_cards


@dataclass(frozen=True, slots=True)
class IssuerPoints:
    """One issuer's points from a window's opening to its closing. All fields but balances are gross, never negative.

    The statement foots by three identities, which ``issuer_points`` sees to::

        opening.outstanding   + issued - redeemed - expired                                    = closing.outstanding
        opening.on_cards      + earned_to_cards + redemptions_refunded
                              - burned - taken_back_from_cards - expired_gross                 = closing.on_cards
        opening.owed_by_cards + taken_back_as_debt - earned_to_own_debt - debt_repaid_elsewhere = closing.owed_by_cards
    """

    issuer: MerchantId
    opening: OutstandingPoints
    earned_to_cards: int
    """Earned here, into lots on cards."""
    earned_to_own_debt: int
    """Earned here, and set against what the card owed this merchant."""
    earned_to_other_debt: int
    """Earned here, and used to repay what the card owed another merchant: redeemed there, in effect."""
    debt_repaid_elsewhere: int
    """Debts to this merchant that cards repaid with points not newly earned here: its taken-back points stand again."""
    taken_back_from_cards: int
    """Earns taken back out of lots."""
    taken_back_as_debt: int
    """Earns taken back whose points had been spent: the cards owe them."""
    taken_back_after_expiry: int
    """Earns taken back whose points had expired: expiry is reversed and the points were never issued."""
    burned: int
    """Points of this issuer that customers redeemed, wherever."""
    redemptions_refunded: int
    """Burns taken back, whose points went back to the cards."""
    expired_gross: int
    """Points past their date, booked as expired."""
    closing: OutstandingPoints

    @property
    def earned(self) -> int:
        """All that customers earned here: what the receipts of the tills add up to."""
        return self.earned_to_cards + self.earned_to_own_debt + self.earned_to_other_debt

    @property
    def earns_taken_back(self) -> int:
        """All that was taken back of earns."""
        return self.taken_back_from_cards + self.taken_back_as_debt + self.taken_back_after_expiry

    @property
    def issued(self) -> int:
        """Net points issued: earned, less taken back, plus debts repaid from elsewhere."""
        return self.earned - self.earns_taken_back + self.debt_repaid_elsewhere

    @property
    def redeemed_gross(self) -> int:
        """Points of this issuer that were redeemed, before refunds."""
        return self.burned + self.earned_to_other_debt

    @property
    def redeemed(self) -> int:
        """Net points redeemed: negative where more was refunded than redeemed."""
        return self.redeemed_gross - self.redemptions_refunded

    @property
    def expired(self) -> int:
        """Net points expired."""
        return self.expired_gross - self.taken_back_after_expiry


@dataclass(frozen=True, slots=True)
class Redemption:
    """Points of one issuer redeemed at one redeemer in a window, whatever they are worth."""

    issuer: MerchantId
    redeemer: MerchantId
    points_redeemed: int
    """Burned there, and repaid to the redeemer as a card's creditor."""
    points_refunded: int
    """Burns taken back, of this window or of earlier ones."""

    @property
    def points(self) -> int:
        """Net: negative where more was refunded than redeemed."""
        return self.points_redeemed - self.points_refunded


def balance(moved: PointsByMovement, signs: Mapping[Movement, int]) -> int:
    """What these movements come to on the account that ``signs`` describes."""
    return sum(sign * moved.get(movement, 0) for movement, sign in signs.items())


def moved_by_issuer(flows: Iterable[Flow]) -> dict[MerchantId, Counter[Movement]]:
    """The points each movement moved, for each issuer."""
    moved: dict[MerchantId, Counter[Movement]] = {}
    for flow in flows:
        of_issuer = moved.get(flow.issuer)
        if of_issuer is None:
            of_issuer = moved[flow.issuer] = Counter()
        of_issuer[flow.movement] += flow.points
    return moved


def issuer_points(issuer: MerchantId, before: PointsByMovement, during: PointsByMovement) -> IssuerPoints:
    """The issuer's account over a window. Raises ``InconsistentFlowsError`` where a balance would be below zero."""
    until_end = {movement: before.get(movement, 0) + during.get(movement, 0) for movement in Movement}
    account = IssuerPoints(
        issuer=issuer,
        opening=_outstanding(issuer, before),
        earned_to_cards=during.get(Movement.EARN, 0),
        earned_to_own_debt=during.get(Movement.EARN_TO_DEBT, 0),
        earned_to_other_debt=during.get(Movement.EARN_TO_CREDITOR, 0),
        debt_repaid_elsewhere=during.get(Movement.DEBT_REINSTATED, 0),
        taken_back_from_cards=during.get(Movement.EARN_REFUNDED, 0),
        taken_back_as_debt=during.get(Movement.DEBT_INCURRED, 0),
        taken_back_after_expiry=during.get(Movement.EXPIRY_REVERSED, 0),
        burned=during.get(Movement.BURN, 0),
        redemptions_refunded=during.get(Movement.BURN_REFUNDED, 0),
        expired_gross=during.get(Movement.EXPIRY, 0),
        closing=_outstanding(issuer, until_end),
    )
    _require_that_it_foots(account)
    return account


def redemptions(flows: Iterable[Flow]) -> tuple[Redemption, ...]:
    """Who redeemed whose points, by issuer and redeemer; own points at the issuer itself included."""
    gross: Counter[tuple[MerchantId, MerchantId]] = Counter()
    refunded: Counter[tuple[MerchantId, MerchantId]] = Counter()
    for flow in flows:
        sign = REDEEMED.get(flow.movement)
        if sign is None:
            continue
        if flow.redeemer is None:
            raise InconsistentFlowsError(f"{flow} is redeemed nowhere")
        (gross if sign > 0 else refunded)[flow.issuer, flow.redeemer] += flow.points
    return tuple(Redemption(*pair, gross[pair], refunded[pair]) for pair in sorted(gross.keys() | refunded.keys()))


def _outstanding(issuer: MerchantId, moved: PointsByMovement) -> OutstandingPoints:
    points = OutstandingPoints(balance(moved, ON_CARDS), balance(moved, OWED_BY_CARDS))
    if points.on_cards < 0 or points.owed_by_cards < 0:
        raise InconsistentFlowsError(
            f"{issuer}: {points.on_cards} points on cards and {points.owed_by_cards} owed by cards, but neither can be "
            "below zero: the flows are not those of a whole log"
        )
    # The ledger's invariant for each issuer: issued - owed - expired = open lots - debts.
    ledger = balance(moved, ISSUED) - balance(moved, REDEEMED) - balance(moved, EXPIRED)
    require_identity(ledger == points.outstanding, f"every posting of {issuer} keeps its books balanced")
    return points


def _require_that_it_foots(account: IssuerPoints) -> None:
    opening, closing = account.opening, account.closing
    outstanding = opening.outstanding + account.issued - account.redeemed - account.expired
    require_identity(outstanding == closing.outstanding, f"the outstanding points of {account.issuer} foot")
    on_cards = opening.on_cards + account.earned_to_cards + account.redemptions_refunded
    on_cards -= account.burned + account.taken_back_from_cards + account.expired_gross
    require_identity(on_cards == closing.on_cards, f"the points of {account.issuer} on cards foot")
    owed = opening.owed_by_cards + account.taken_back_as_debt
    owed -= account.earned_to_own_debt + account.debt_repaid_elsewhere
    require_identity(owed == closing.owed_by_cards, f"the points that cards owe {account.issuer} foot")
