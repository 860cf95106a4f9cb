"""Card debt: points of a refunded earn that the customer had spent already, and how later points repay them.

A card owes such points to the merchant that took the earn back: it still owes other merchants for them. When points
come to the card again, they repay its debts first. Points issued by the creditor itself just cancel. Points of another
issuer count as redeemed at the creditor, so that their issuer, who keeps them from the customer, makes the creditor
whole at settlement (docs/decisions: card debt).
"""

from __future__ import annotations

import datetime

from clearing.calendar import month_start
from clearing.model import MerchantId, Points
from clearing.rules.card import Card, LotKey
from clearing.rules.movements import Movement, Posting, of_lot


def repay_from_earn(
    card: Card, issuer: MerchantId, points: int, issued_in: datetime.date, unit: str
) -> tuple[Card, int, tuple[Posting, ...]]:
    """Repay the card's debts out of points being earned: the issuer's own first, then by creditor's name.

    ``issued_in`` is the first day of the month in which they are earned. Returns the card, how many of ``points`` are
    left for it, and the postings.
    """
    postings: list[Posting] = []
    for creditor in sorted(card.debts, key=lambda name: (name != issuer, name)):
        share = min(points, card.debts[creditor])
        if share == 0:
            break
        points -= share
        card = card.with_debt_added(creditor, -share)
        if creditor == issuer:
            postings.append(
                Posting(card.token, Movement.EARN_TO_DEBT, issuer, None, None, issued_in, Points(share), unit)
            )
        else:
            postings.append(
                Posting(card.token, Movement.EARN_TO_CREDITOR, issuer, creditor, None, issued_in, Points(share), unit)
            )
            postings.append(
                Posting(card.token, Movement.DEBT_REINSTATED, creditor, None, None, issued_in, Points(share), unit)
            )
    return card, points, tuple(postings)


def repay_from_lot(card: Card, lot: LotKey, points: int, today: datetime.date) -> tuple[Card, tuple[Posting, ...]]:
    """Repay the card's debts out of up to ``points`` that a refunded burn put back into ``lot``.

    Without this a customer could have goods for points twice: take back the earn while the points are spent, then the
    burn.
    """
    postings: list[Posting] = []
    for creditor in sorted(card.debts, key=lambda name: (name != lot.issuer, name)):
        share = min(points, card.debts[creditor])
        if share == 0:
            break
        points -= share
        card = card.with_debt_added(creditor, -share).with_points_added(lot, -share)
        movement, redeemer = (Movement.EARN_REFUNDED, None) if creditor == lot.issuer else (Movement.BURN, creditor)
        postings.append(of_lot(card.token, movement, lot, share, redeemer))
        reinstated_in = month_start(today)
        postings.append(
            Posting(card.token, Movement.DEBT_REINSTATED, creditor, None, None, reinstated_in, Points(share), lot.unit)
        )
    return card, tuple(postings)
