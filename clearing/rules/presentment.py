"""What a presentment comes to: step 6 of a transaction's way, for merchants' messages.

Each transaction passes a ladder of guards, each with its own outcome, and only then acts. A reference that was decided
before is answered with what was decided then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from clearing.model import (
    KIND_OF,
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
from clearing.rules.card import Card, Taken
from clearing.rules.directory import Directory
from clearing.rules.earn import earn
from clearing.rules.effect import Effect
from clearing.rules.ledger import Ledger, LedgerChanges, RecordedTransaction
from clearing.rules.movements import Posting
from clearing.rules.opening import open_card
from clearing.rules.refund import refund

FUTURE_TOLERANCE = Instant(5 * 60 * MICROSECONDS_PER_SECOND)
"""How far a till's clock may run ahead of the ledger's."""

_ACCEPTED = Outcome.ACCEPTED


class PresentmentDecision(NamedTuple):
    """A new entry's outcomes, and what they change."""

    results: tuple[TransactionResult, ...]
    changes: LedgerChanges


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """All of the message was decided before, in one entry: that entry is the answer, and no new one is made."""

    entry_index: EntryIndex


def decide_presentment(
    directory: Directory, ledger: Ledger, presentment: Presentment, accepted_at: Instant, entry_index: EntryIndex
) -> PresentmentDecision:
    """Decide every transaction in order, one at least being new. ``ledger.apply`` makes the changes hold."""
    attempt = _Attempt(directory, ledger, presentment.merchant, accepted_at, entry_index)
    results = [attempt.decide(position, transaction) for position, transaction in enumerate(presentment.transactions)]
    if presentment.atomic and any(result.outcome is not Outcome.ACCEPTED for result in results):
        attempt = _Attempt(directory, ledger, presentment.merchant, accepted_at, entry_index)
        results = [
            attempt.abort(position, transaction, result)
            for position, (transaction, result) in enumerate(zip(presentment.transactions, results, strict=True))
        ]
    return PresentmentDecision(tuple(results), attempt.changes())


def entry_that_decided_all(ledger: Ledger, presentment: Presentment) -> EntryIndex | None:
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


class _Attempt:
    """One presentment's decisions over the ledger, gathered apart from it so that they can be dropped whole."""

    __slots__ = (
        "accepted_at",
        "cards",
        "constitution",
        "directory",
        "entry_index",
        "ledger",
        "merchant",
        "postings",
        "stores",
        "today",
        "transactions",
    )

    def __init__(
        self,
        directory: Directory,
        ledger: Ledger,
        merchant: MerchantId,
        accepted_at: Instant,
        entry_index: EntryIndex,
    ) -> None:
        self.stores = directory.stores
        self.ledger = ledger
        self.merchant = merchant
        self.accepted_at = accepted_at
        self.entry_index = entry_index
        self.today = directory.local_date(accepted_at)
        self.directory = directory
        self.constitution = directory.constitution_on(self.today)
        self.cards: dict[CardToken, Card] = {}
        self.transactions: dict[tuple[MerchantId, Reference], RecordedTransaction] = {}
        self.postings: list[tuple[int, Posting]] = []

    def changes(self) -> LedgerChanges:
        return LedgerChanges(self.cards, self.transactions, tuple(self.postings))

    def card(self, token: CardToken) -> Card | None:
        return self.cards.get(token) or self.ledger.cards.get(token)

    def recorded(self, key: tuple[MerchantId, Reference]) -> RecordedTransaction | None:
        return self.transactions.get(key) or self.ledger.transactions.get(key)

    def decide(self, position: int, transaction: Transaction) -> TransactionResult:
        """The transaction's result; an accepted one changes this attempt."""
        key = (self.merchant, transaction.reference)
        recorded = self.recorded(key)
        if recorded is not None:
            return _decided_before(recorded, transaction)
        effect = self._effect(transaction)
        if not isinstance(effect, Effect):
            return self._record(key, position, transaction, self._refused(effect, transaction.card))

        card, points, postings, lots, original = effect
        self.cards[transaction.card] = card
        for posting in postings:
            self.postings.append((position, posting))
        if original is not None:
            self.transactions[(self.merchant, original.reference)] = original
        result = TransactionResult(_ACCEPTED, points, card.points_available(self.today), card.points_owed())
        return self._record(key, position, transaction, result, lots)

    def abort(self, position: int, transaction: Transaction, result: TransactionResult) -> TransactionResult:
        """The result in an atomic presentment that failed: refusals stand, what was accepted is aborted."""
        key = (self.merchant, transaction.reference)
        recorded = self.recorded(key)
        if recorded is not None:
            return _decided_before(recorded, transaction)
        outcome = Outcome.ATOMIC_ABORTED if result.outcome is Outcome.ACCEPTED else result.outcome
        return self._record(key, position, transaction, self._refused(outcome, transaction.card))

    def _effect(self, transaction: Transaction) -> Effect | Outcome:
        constitution = self.constitution
        if transaction.unit and transaction.unit != constitution.unit:
            return Outcome.UNKNOWN_UNIT
        owner = self.stores.get(transaction.store)
        if owner is None:
            return Outcome.UNKNOWN_STORE
        if owner != self.merchant:
            return Outcome.STORE_OF_ANOTHER_MERCHANT
        age = self.accepted_at - transaction.occurred_at
        if -age > FUTURE_TOLERANCE:
            return Outcome.OCCURRED_IN_FUTURE
        if age > constitution.late_presentment_days * MICROSECONDS_PER_DAY:
            return Outcome.LATE_PRESENTMENT

        card = self.card(transaction.card)
        match transaction.kind:
            case Earn(points=points):
                return earn(
                    card, self.merchant, points, self.today, constitution.lot_lifetime_months, constitution.unit
                )
            case Burn(points=points):
                return burn(card, self.merchant, points, self.today)
            case OpenCard():
                return open_card(card, transaction.card)
            case Refund(original_reference=reference, points=asked):
                original = self.recorded((self.merchant, reference))
                return refund(card, transaction.card, original, asked, self.today, constitution.unit)

    def _refused(self, outcome: Outcome, token: CardToken) -> TransactionResult:
        card = self.card(token)
        if card is None:
            return refused(outcome)
        return TransactionResult(outcome, Points(0), card.points_available(self.today), card.points_owed())

    def _record(
        self,
        key: tuple[MerchantId, Reference],
        position: int,
        transaction: Transaction,
        result: TransactionResult,
        lots: tuple[Taken, ...] = (),
    ) -> TransactionResult:
        reference, card, store, _, _, _, kind, content_digest = transaction
        self.transactions[key] = RecordedTransaction(
            self.entry_index,
            position,
            self.merchant,
            reference,
            content_digest,
            KIND_OF[type(kind)],
            card,
            store,
            result,
            self.today,
            lots=lots,
        )
        return result


def _decided_before(recorded: RecordedTransaction, transaction: Transaction) -> TransactionResult:
    """The original's result where the content is the same, ``REFERENCE_REUSED`` where it is not."""
    if recorded.content_digest != transaction.content_digest:
        return refused(Outcome.REFERENCE_REUSED)
    return recorded.result._replace(original_index=recorded.entry_index)
