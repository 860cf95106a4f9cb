"""Refund: a merchant takes back its own earn or burn, whole or in part, at the prices of the lots' months of issue."""

from __future__ import annotations

import datetime

from clearing.calendar import month_start
from clearing.model import POINTS_PER_CARD_MAX, CardToken, MerchantId, Outcome, Points, TransactionKind
from clearing.rules.card import Card, Lot, LotKey, Taken
from clearing.rules.debt import repay_from_lot
from clearing.rules.effect import Effect
from clearing.rules.expiry import expire_lots
from clearing.rules.ledger import RecordedTransaction
from clearing.rules.movements import Movement, Posting, of_lot


def refund(
    card: Card | None,
    token: CardToken,
    original: RecordedTransaction | None,
    points_asked: Points | None,
    today: datetime.date,
    unit: str,
) -> Effect | Outcome:
    """The opposite of the original, for ``points_asked`` or, where that is None, for all that remains of it.

    ``original`` is what the presenting merchant recorded under the original reference, so another merchant's is never
    found. ``lot_lifetime_months`` is the one in force when it was decided.
    """
    if card is None:
        return Outcome.UNKNOWN_CARD
    if original is None:
        return Outcome.UNKNOWN_ORIGINAL
    if original.card != token:
        return Outcome.ORIGINAL_OF_ANOTHER_CARD
    if original.result.outcome is not Outcome.ACCEPTED:
        return Outcome.ORIGINAL_NOT_ACCEPTED
    if original.kind not in (TransactionKind.EARN, TransactionKind.BURN):
        return Outcome.ORIGINAL_NOT_REFUNDABLE
    remaining = original.result.points - original.points_refunded
    if remaining == 0:
        return Outcome.ALREADY_REFUNDED
    points = remaining if points_asked is None else points_asked
    if points > remaining:
        return Outcome.REFUND_EXCEEDS_REMAINING

    touched, expiries = expire_lots(card, today)
    if original.kind is TransactionKind.EARN:
        touched, postings = _take_back_earn(touched, original, points, today, unit)
    else:
        touched, postings = _give_back_burn(touched, original, points, today)
    if touched.points_in_lots > POINTS_PER_CARD_MAX or touched.points_owed() > POINTS_PER_CARD_MAX:
        return Outcome.BALANCE_LIMIT_EXCEEDED
    refunded = original._replace(points_refunded=Points(original.points_refunded + points))
    return Effect(touched, Points(points), (*expiries, *postings), original=refunded)


def _take_back_earn(
    card: Card, original: RecordedTransaction, points: int, today: datetime.date, unit: str
) -> tuple[Card, list[Posting]]:
    """Out of its own lot; then what expired of that lot; then the issuer's other lots; the rest becomes debt.

    Other issuers' points on the card repay that at once, as they would if they came a moment later: otherwise the order
    of earns and refunds would decide whether a customer may spend points while owing others.
    """
    issuer, month = original.merchant, month_start(original.decided_on)
    # An earn that repaid the card's debts in whole went into no lot.
    earned_into = original.lots[0].lot if original.lots else None
    postings: list[Posting] = []

    def take_from_lot(key: LotKey) -> None:
        nonlocal card, points
        share = min(card.lots[key].points, points)
        if share:
            points -= share
            card = card.with_points_added(key, -share)
            postings.append(of_lot(card.token, Movement.EARN_REFUNDED, key, share))

    if earned_into is not None and earned_into in card.lots:
        take_from_lot(earned_into)
    if points and earned_into is not None and earned_into in card.lots:
        # The customer lost these points already; taking them a second time, as debt, would be wrong.
        lot = card.lots[earned_into]
        share = min(lot.points_expired, points)
        if share:
            points -= share
            card = card.with_lot(earned_into, Lot(lot.points, Points(lot.points_expired - share)))
            postings.append(of_lot(card.token, Movement.EXPIRY_REVERSED, earned_into, share))
    own = (key for key in card.lots if key.issuer == issuer)
    for key in sorted(own, key=lambda key: (key.expires_on, key.issued_in)):
        take_from_lot(key)
    if points:
        card = card.with_debt_added(issuer, points)
        postings.append(Posting(card.token, Movement.DEBT_INCURRED, issuer, None, None, month, Points(points), unit))
        for key, lot in card.spendable_lots(today):
            card, repayments = repay_from_lot(card, key, lot.points, today)
            postings.extend(repayments)
    return card, postings


def _give_back_burn(
    card: Card, original: RecordedTransaction, points: int, today: datetime.date
) -> tuple[Card, list[Posting]]:
    """Into the lots it came from, the last taken first, so that a part refund gives back what lives longest.

    A lot past its date gets its points back too; they expire when the card is next touched. Debts are repaid at once.
    """
    redeemer: MerchantId = original.merchant
    postings: list[Posting] = []
    for lot, share in _restored(original.lots, original.points_refunded, points):
        card = card.with_points_added(lot, share)
        postings.append(of_lot(card.token, Movement.BURN_REFUNDED, lot, share, redeemer))
        card, repayments = repay_from_lot(card, lot, share, today)
        postings.extend(repayments)
    return card, postings


def _restored(taken: tuple[Taken, ...], points_refunded: int, points: int) -> list[Taken]:
    """Which lots get the next ``points`` back, after ``points_refunded`` were given back before."""
    restored: list[Taken] = []
    skip = points_refunded
    for lot, taken_points in reversed(taken):
        skipped = min(skip, taken_points)
        skip -= skipped
        share = min(taken_points - skipped, points)
        if share:
            restored.append(Taken(lot, Points(share)))
            points -= share
    return restored
