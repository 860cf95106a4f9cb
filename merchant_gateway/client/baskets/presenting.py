"""From a plan to signed presentments, and from their answers to the burns that are due.

References are ``open-``, ``earn-`` and ``burn-`` with the basket's identifier, never the household's: a reference
stands in the log for ever, beside the card's token, which must not lead back to a customer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from clearing.calendar import moment_of
from clearing.contract.log_identity import LogIdentity
from clearing.model import CardToken, Instant, MerchantId, Outcome, Points
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client.baskets.summary import Kind, Tally
from merchant_gateway.client.baskets.waves import BasketPlan, PlannedBasket, Wave
from merchant_gateway.client.merchant_client import sign_presentment
from merchant_gateway.client.transaction_receipt import TransactionReceipt
from merchant_gateway.client.transactions import burn, earn, open_card

Submit = Callable[[Sequence[Envelope]], list[list[TransactionReceipt]]]
"""Presents envelopes in one call, and gives each one's receipts (``MerchantConnection.submit``)."""

Progress = Callable[[int, int], None]
"""Told how many baskets of how many are done."""


class _Item(NamedTuple):
    """One transaction of a basket."""

    kind: Kind
    planned: PlannedBasket


class _Answered(NamedTuple):
    """One transaction and what it came to."""

    item: _Item
    receipt: TransactionReceipt


class _Presentment(NamedTuple):
    """A merchant's transactions that are signed together."""

    merchant: MerchantId
    presented_at: Instant
    items: tuple[_Item, ...]


class Presenter:
    """Signs with each merchant's own key."""

    def __init__(self, log: LogIdentity, keys: Mapping[MerchantId, PrivateKey], burn_points: Points) -> None:
        """``burn_points``: as soon as a card can spend so many, exactly so many are burned."""
        self._log = log
        self._keys = keys
        self._burn_points = burn_points
        self._open_cards: set[CardToken] = set()
        """Those that this run has heard to be open. What is heard is final, so every run hears the same."""

    def present(self, plan: BasketPlan, submit: Submit, tally: Tally, progress: Progress) -> None:
        """Present all of a plan, in order.

        The burns that a wave brings about go ahead of the next wave in the same call, whose presentments are decided
        in their order: half the calls, and nothing comes out differently.
        """
        done = plan.baskets_without_points
        due: list[_Presentment] = []
        progress(done, plan.baskets)
        for wave in plan.waves:
            answered = self._exchange([*due, *self._wave_presentments(wave)], submit, tally)
            due = self._due_burns(wave, answered)
            done += len(wave.baskets)
            progress(done, plan.baskets)
        if due:
            self._exchange(due, submit, tally)

    def _wave_presentments(self, wave: Wave) -> list[_Presentment]:
        """For each merchant of a wave: its baskets' earns, each after the opening of its card unless that is open."""
        items: list[_Item] = []
        for planned in wave.baskets:
            if planned.card not in self._open_cards:
                items.append(_Item(Kind.OPEN, planned))
            items.append(_Item(Kind.EARN, planned))
        return _by_merchant(wave.presented_at, items)

    def _due_burns(self, wave: Wave, answered: Iterable[_Answered]) -> list[_Presentment]:
        """For each merchant of a wave: the burns that its earns bring about."""
        return _by_merchant(
            wave.presented_at,
            (
                _Item(Kind.BURN, item.planned)
                for item, receipt in answered
                if item.kind is Kind.EARN and receipt.is_accepted and receipt.points_available >= self._burn_points
            ),
        )

    def _exchange(self, presentments: Sequence[_Presentment], submit: Submit, tally: Tally) -> list[_Answered]:
        """Present these in one call; each transaction with its receipt."""
        answers = submit([self._sign(presentment) for presentment in presentments])
        answered = [
            _Answered(item, receipt)
            for presentment, receipts in zip(presentments, answers, strict=True)
            for item, receipt in zip(presentment.items, receipts, strict=True)
        ]
        for item, receipt in answered:
            tally.add(item.kind, item.planned, receipt)
            if item.kind is Kind.OPEN and receipt.outcome in (Outcome.ACCEPTED, Outcome.CARD_EXISTS):
                self._open_cards.add(item.planned.card)
        return answered

    def _sign(self, presentment: _Presentment) -> Envelope:
        return sign_presentment(
            self._log,
            presentment.merchant,
            self._keys[presentment.merchant],
            [self._transaction(item) for item in presentment.items],
            presented_at=presentment.presented_at,
        )

    def _transaction(self, item: _Item) -> Transaction:
        planned, basket = item.planned, item.planned.basket
        reference = f"{item.kind}-{basket.basket_id}"
        occurred_at = moment_of(basket.purchased_at)
        match item.kind:
            case Kind.OPEN:
                return open_card(reference, planned.card, basket.store, occurred_at)
            case Kind.EARN:
                return earn(
                    reference,
                    planned.card,
                    basket.store,
                    planned.points,
                    occurred_at,
                    purchase_amount_minor=basket.amount_minor,
                )
            case Kind.BURN:
                return burn(reference, planned.card, basket.store, self._burn_points, occurred_at)


def _by_merchant(presented_at: Instant, items: Iterable[_Item]) -> list[_Presentment]:
    """A presentment for each merchant, by identifier; the items in their order."""
    grouped: dict[MerchantId, list[_Item]] = {}
    for item in items:
        grouped.setdefault(item.planned.merchant, []).append(item)
    return [_Presentment(merchant, presented_at, tuple(grouped[merchant])) for merchant in sorted(grouped)]
