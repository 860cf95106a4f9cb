"""One till: a card of its own, what it presents of it, and what that must come to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import NamedTuple

from clearing.contract import instruction as instruction_contract
from clearing.model import CardToken, Outcome
from clearing.signing.envelope import sign_envelope
from clearing.v1 import instruction_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from tests.integration.alliance import Alliance

ENVELOPES_PER_CALL_MAX = 6
TRANSACTIONS_PER_ENVELOPE_MAX = 3
POINTS_MAX = 100


class Expected(NamedTuple):
    """What a transaction must come to."""

    outcome: Outcome
    points_available: int


@dataclass(slots=True)
class Till:
    """One till: its card, and what it has presented of it."""

    card: CardToken
    choices: random.Random
    points: int = 0
    """Of the card, once everything presented is answered."""
    references: list[str] = field(default_factory=list)
    burned: list[tuple[str, int]] = field(default_factory=list)
    """References and points of burns that are not taken back."""
    stores_opened: int = 0
    calls_answered: int = 0

    def next_call(self, alliance: Alliance) -> tuple[list[Envelope], list[list[Expected]]]:
        """Some envelopes, and what each one's transactions must come to."""
        envelopes, expected = [], []
        for _ in range(self.choices.randint(1, ENVELOPES_PER_CALL_MAX)):
            is_earning = self.choices.random() < 0.6
            merchant, next_transaction = ("bakery", self._earn) if is_earning else ("cinema", self._burn_or_refund)
            transactions = [
                next_transaction(alliance) for _ in range(self.choices.randint(1, TRANSACTIONS_PER_ENVELOPE_MAX))
            ]
            envelopes.append(alliance.envelope(alliance.presentment(merchant, *(each for each, _ in transactions))))
            expected.append([each for _, each in transactions])
        return envelopes, expected

    def next_store(self, alliance: Alliance) -> Envelope:
        """An operator's instruction, which must be accepted: now and then the directory changes too."""
        self.stores_opened += 1
        store = f"bakery-{self.card[5:15].lower()}-{self.stores_opened}"
        open_store = instruction_pb2.OpenStore(merchant="bakery", store=store)
        payload = alliance.instruction(reference=store, open_store=open_store)
        return sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [alliance.operator])

    def _earn(self, alliance: Alliance) -> tuple[presentment_pb2.Transaction, Expected]:
        points = self.choices.randint(1, POINTS_MAX)
        earn = alliance.transaction(
            "bakery", self.card, reference=self._next_reference(), earn=presentment_pb2.Earn(points=points)
        )
        self.points += points
        return earn, Expected(Outcome.ACCEPTED, self.points)

    def _burn_or_refund(self, alliance: Alliance) -> tuple[presentment_pb2.Transaction, Expected]:
        reference = self._next_reference()
        if self.burned and self.choices.random() < 0.3:
            original, points = self.burned.pop()
            refund = presentment_pb2.Refund(original_reference=original)
            self.points += points
            taken_back = alliance.transaction("cinema", self.card, reference=reference, refund=refund)
            return taken_back, Expected(Outcome.ACCEPTED, self.points)
        points = self.choices.randint(1, POINTS_MAX)
        burn = alliance.transaction("cinema", self.card, reference=reference, burn=presentment_pb2.Burn(points=points))
        if points > self.points:
            return burn, Expected(Outcome.INSUFFICIENT_POINTS, self.points)
        self.points -= points
        self.burned.append((reference, points))
        return burn, Expected(Outcome.ACCEPTED, self.points)

    def _next_reference(self) -> str:
        self.references.append(f"{self.card[5:15]}-{len(self.references)}")
        return self.references[-1]
