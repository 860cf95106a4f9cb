"""Expire lots: book what is past its date on the named cards."""

from __future__ import annotations

from clearing.model import CardToken, ExpireLots, InstructionResult, Outcome, Points
from clearing.rules.card import Card
from clearing.rules.case import Case, InstructionDecision
from clearing.rules.expiry import expire_lots
from clearing.rules.ledger import LedgerChanges
from clearing.rules.movements import Posting


def expire_cards(case: Case, action: ExpireLots) -> InstructionDecision | Outcome:
    """The cards without points past their date, and how many those were."""
    cards: dict[CardToken, Card] = {}
    postings: list[tuple[int, Posting]] = []
    for position, token in enumerate(action.cards):
        card = cards.get(token) or case.ledger.cards.get(token)
        if card is None:
            return Outcome.UNKNOWN_CARD
        cards[token], expiries = expire_lots(card, case.today)
        postings.extend((position, posting) for posting in expiries)
    expired = Points(sum(posting.points for _, posting in postings))
    result = InstructionResult(Outcome.ACCEPTED, points_expired=expired)
    return InstructionDecision(result, case.directory, LedgerChanges(cards, {}, tuple(postings)))
