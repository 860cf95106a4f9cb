"""What a presentment comes to: step 6 of a transaction's way, for merchants' messages.

Each transaction passes a ladder of guards, each with its own outcome, and only then acts. A reference that was decided
before is answered with what was decided then.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field, replace

from clearing.model import (
    MICROSECONDS_PER_DAY,
    MICROSECONDS_PER_SECOND,
    Burn,
    CardToken,
    Earn,
    EntryIndex,
    Instant,
    MerchantId,
    OpenCard,
    Outcome,
    Points,
    Presentment,
    Reference,
    Refund,
    Transaction,
    TransactionResult,
    refused,
)
from clearing.rules.burn import burn
from clearing.rules.card import Card
from clearing.rules.directory import Directory
from clearing.rules.earn import earn
from clearing.rules.effect import Effect
from clearing.rules.ledger import KindCode, Ledger, LedgerChanges, RecordedTransaction
from clearing.rules.movements import Posting
from clearing.rules.opening import open_card
from clearing.rules.refund import refund

FUTURE_TOLERANCE = Instant(5 * 60 * MICROSECONDS_PER_SECOND)
"""How far a till's clock may run ahead of the ledger's."""

_KIND_CODES = {
    OpenCard: KindCode.OPEN_CARD,
    Earn: KindCode.EARN,
    Burn: KindCode.BURN,
    Refund: KindCode.REFUND,
}


@dataclass(frozen=True, slots=True)
class PresentmentDecision:
    """A new entry's outcomes, and what they change."""

    results: tuple[TransactionResult, ...]
    changes: LedgerChanges


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """All of the message was decided before, in one entry: that entry is the answer, and no new one is made."""

    entry_index: EntryIndex


def decide_presentment(
    directory: Directory, ledger: Ledger, presentment: Presentment, accepted_at: Instant, entry_index: EntryIndex
) -> PresentmentDecision | AlreadyDecided:
    """Decide every transaction in order. Reads its arguments only; ``ledger.apply`` makes the changes hold."""
    decided_before = _entry_that_decided_all(ledger, presentment)
    if decided_before is not None:
        return AlreadyDecided(decided_before)

    attempt = _Attempt(directory, ledger, presentment.merchant, accepted_at, entry_index)
    results = [attempt.decide(position, transaction) for position, transaction in enumerate(presentment.transactions)]
    if presentment.atomic and any(result.outcome is not Outcome.ACCEPTED for result in results):
        attempt = _Attempt(directory, ledger, presentment.merchant, accepted_at, entry_index)
        results = [
            attempt.abort(position, transaction, result)
            for position, (transaction, result) in enumerate(zip(presentment.transactions, results, strict=True))
        ]
    return PresentmentDecision(tuple(results), attempt.changes())


def _entry_that_decided_all(ledger: Ledger, presentment: Presentment) -> EntryIndex | None:
    """The one entry in which every transaction was decided with the same content, if there is one."""
    entry_index: EntryIndex | None = None
    for transaction in presentment.transactions:
        recorded = ledger.transactions.get((presentment.merchant, transaction.reference))
        if recorded is None or recorded.content_digest != transaction.content_digest:
            return None
        if entry_index is not None and recorded.entry_index != entry_index:
            return None
        entry_index = recorded.entry_index
    return entry_index


@dataclass(slots=True)
class _Attempt:
    """One presentment's decisions over the ledger, gathered apart from it so that they can be dropped whole."""

    directory: Directory
    ledger: Ledger
    merchant: MerchantId
    accepted_at: Instant
    entry_index: EntryIndex
    today: datetime.date = field(init=False)
    cards: dict[CardToken, Card] = field(default_factory=dict)
    transactions: dict[tuple[MerchantId, Reference], RecordedTransaction] = field(default_factory=dict)
    postings: list[tuple[int, Posting]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.today = self.directory.local_date(self.accepted_at)

    def changes(self) -> LedgerChanges:
        return LedgerChanges(self.cards, self.transactions, tuple(self.postings))

    def card(self, token: CardToken) -> Card | None:
        return self.cards.get(token) or self.ledger.cards.get(token)

    def recorded(self, reference: Reference) -> RecordedTransaction | None:
        key = (self.merchant, reference)
        return self.transactions.get(key) or self.ledger.transactions.get(key)

    def decide(self, position: int, transaction: Transaction) -> TransactionResult:
        """The transaction's result; an accepted one changes this attempt."""
        recorded = self.recorded(transaction.reference)
        if recorded is not None:
            return _decided_before(recorded, transaction)
        effect = self._effect(transaction)
        if isinstance(effect, Outcome):
            return self._record(position, transaction, self._refused(effect, transaction.card))

        self.cards[transaction.card] = effect.card
        self.postings.extend((position, posting) for posting in effect.postings)
        if effect.original is not None:
            self.transactions[(self.merchant, effect.original.reference)] = effect.original
        result = TransactionResult(
            Outcome.ACCEPTED, effect.points, effect.card.points_available(self.today), effect.card.points_owed()
        )
        return self._record(position, transaction, result, effect)

    def abort(self, position: int, transaction: Transaction, result: TransactionResult) -> TransactionResult:
        """The result in an atomic presentment that failed: refusals stand, what was accepted is aborted."""
        recorded = self.recorded(transaction.reference)
        if recorded is not None:
            return _decided_before(recorded, transaction)
        outcome = Outcome.ATOMIC_ABORTED if result.outcome is Outcome.ACCEPTED else result.outcome
        return self._record(position, transaction, self._refused(outcome, transaction.card))

    def _effect(self, transaction: Transaction) -> Effect | Outcome:
        constitution = self.directory.constitution
        if transaction.unit and transaction.unit != constitution.unit:
            return Outcome.UNKNOWN_UNIT
        owner = self.directory.stores.get(transaction.store)
        if owner is None:
            return Outcome.UNKNOWN_STORE
        if owner != self.merchant:
            return Outcome.STORE_OF_ANOTHER_MERCHANT
        if transaction.occurred_at > self.accepted_at + FUTURE_TOLERANCE:
            return Outcome.OCCURRED_IN_FUTURE
        if self.accepted_at - transaction.occurred_at > constitution.late_presentment_days * MICROSECONDS_PER_DAY:
            return Outcome.LATE_PRESENTMENT

        card = self.card(transaction.card)
        lifetime = constitution.lot_lifetime_months
        match transaction.kind:
            case Earn(points=points):
                return earn(card, self.merchant, points, self.today, lifetime)
            case Burn(points=points):
                return burn(card, self.merchant, points, self.today)
            case OpenCard():
                return open_card(card, transaction.card)
            case Refund(original_reference=reference, points=asked):
                return refund(card, transaction.card, self.recorded(reference), asked, self.today, lifetime)

    def _refused(self, outcome: Outcome, token: CardToken) -> TransactionResult:
        card = self.card(token)
        if card is None:
            return refused(outcome)
        return TransactionResult(outcome, Points(0), card.points_available(self.today), card.points_owed())

    def _record(
        self, position: int, transaction: Transaction, result: TransactionResult, effect: Effect | None = None
    ) -> TransactionResult:
        self.transactions[(self.merchant, transaction.reference)] = RecordedTransaction(
            entry_index=self.entry_index,
            position=position,
            merchant=self.merchant,
            reference=transaction.reference,
            content_digest=transaction.content_digest,
            kind=_KIND_CODES[type(transaction.kind)],
            card=transaction.card,
            store=transaction.store,
            result=result,
            decided_on=self.today,
            taken=effect.taken if effect is not None else (),
        )
        return result


def _decided_before(recorded: RecordedTransaction, transaction: Transaction) -> TransactionResult:
    """The original's result where the content is the same, ``REFERENCE_REUSED`` where it is not."""
    if recorded.content_digest != transaction.content_digest:
        return refused(Outcome.REFERENCE_REUSED)
    return replace(recorded.result, original_index=recorded.entry_index)
