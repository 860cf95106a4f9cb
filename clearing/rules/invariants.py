"""The ledger's invariants: what must hold between its postings, its cards and its references after every entry.

``Books`` folds postings into account balances and knows nothing else; ``violations`` compares them with the cards that
the rules made. Both come from the same decisions by different ways, so an error in either shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any

from clearing.model import MerchantId, TransactionKind
from clearing.rules.card import Card
from clearing.rules.ledger import Ledger, RecordedTransaction
from clearing.rules.movements import MOVEMENTS, Account, Posting

_OWNER: dict[Account, Callable[[Posting], Any]] = {
    Account.ISSUED: attrgetter("issuer"),
    Account.OWED: attrgetter("issuer", "redeemer"),
    Account.EXPIRED: attrgetter("issuer"),
    Account.CARD: attrgetter("card"),
    Account.DEBT: attrgetter("card", "issuer"),
}
"""What tells the accounts of one kind apart."""

_DEBIT_BALANCES = frozenset({Account.ISSUED, Account.DEBT})
"""Accounts that debits add to; the others grow by credits."""

_Side = tuple[defaultdict[Any, int], Callable[[Posting], Any], int]
"""Balances, which of them a posting changes, and in which direction."""


class Books:
    """Account balances by the postings added so far, each in whole points on the account's own side."""

    def __init__(self) -> None:
        self._balances: dict[Account, defaultdict[Any, int]] = {account: defaultdict(int) for account in Account}
        self._sides = {
            movement: (self._side(row.debit, -1), self._side(row.credit, 1)) for movement, row in MOVEMENTS.items()
        }
        self._not_positive: list[Posting] = []

    def _side(self, account: Account, sign: int) -> _Side:
        return self._balances[account], _OWNER[account], -sign if account in _DEBIT_BALANCES else sign

    def add(self, posting: Posting) -> None:
        """Move the posting's points between its two accounts. One addition a side, so that millions stay cheap."""
        points = posting.points
        if points <= 0:
            self._not_positive.append(posting)
        for balances, owner, sign in self._sides[posting.movement]:
            balances[owner(posting)] += sign * points

    def balances(self, account: Account) -> dict[Any, int]:
        """Balances of one kind of account that are not zero, by what tells them apart.

        By issuer for issued and expired, by issuer and redeemer for owed, by card, by card and creditor for debt.
        """
        return {owner: balance for owner, balance in self._balances[account].items() if balance}

    def issuers(self) -> list[MerchantId]:
        """Everyone who has an account of an issuer, by identifier."""
        issuers = {*self._balances[Account.ISSUED], *self._balances[Account.EXPIRED]}
        issuers.update(issuer for issuer, _ in self._balances[Account.OWED])
        return sorted(issuers)

    def own_violations(self) -> Iterator[str]:
        """What the postings alone already break."""
        for posting in self._not_positive:
            yield f"card {posting.card}: a posting {posting.movement.name} moves {posting.points} points"
        debited = sum(sum(self._balances[account].values()) for account in _DEBIT_BALANCES)
        credited = sum(sum(self._balances[account].values()) for account in Account if account not in _DEBIT_BALANCES)
        if debited != credited:
            yield f"all accounts: debit balances are {debited} points and credit balances {credited}"
        for account in Account:
            for owner, balance in self._balances[account].items():
                if balance < 0:
                    yield f"{_name(account, owner)} is {balance} points, below zero"


def violations(books: Books, ledger: Ledger) -> list[str]:
    """Each invariant that does not hold, naming the account, card or reference and the amounts; empty when all hold."""
    return [
        *books.own_violations(),
        *_card_violations(books, ledger.cards.values()),
        *_issuer_violations(books, ledger.cards.values()),
        *(text for recorded in ledger.transactions.values() for text in transaction_violations(recorded)),
    ]


def _card_violations(books: Books, cards: Iterable[Card]) -> Iterator[str]:
    """Each card's accounts against its lots and debts."""
    accounts = books.balances(Account.CARD)
    debts = books.balances(Account.DEBT)
    for card in cards:
        held = accounts.pop(card.token, 0)
        if card.lots or held:
            lots = sum(lot.points for lot in card.lots.values())
            if held != lots:
                yield f"{_name(Account.CARD, card.token)} is {held} points and the card's lots hold {lots}"
            for key, lot in card.lots.items():
                if lot.points < 0 or lot.points_expired < 0 or not (lot.points or lot.points_expired):
                    name = f"the lot of {key.issuer}, issued in {key.issued_in:%Y-%m}, to {key.expires_on}"
                    yield f"card {card.token}: {name} holds {lot.points} points"
        for creditor, points in card.debts.items():
            posted = debts.pop((card.token, creditor), 0)
            if posted != points or points <= 0:
                yield f"{_name(Account.DEBT, (card.token, creditor))} is {posted} points and the card owes {points}"
    for token, held in accounts.items():
        yield f"{_name(Account.CARD, token)} is {held} points and there is no such card"
    for owner, posted in debts.items():
        yield f"{_name(Account.DEBT, owner)} is {posted} points and the card owes nothing"


def _issuer_violations(books: Books, cards: Iterable[Card]) -> Iterator[str]:
    """Each issuer's accounts against the open lots of its points, less what cards owe it."""
    open_points: defaultdict[MerchantId, int] = defaultdict(int)
    expired_points: defaultdict[MerchantId, int] = defaultdict(int)
    for card in cards:
        for key, lot in card.lots.items():
            open_points[key.issuer] += lot.points
            expired_points[key.issuer] += lot.points_expired
        for creditor, owing in card.debts.items():
            open_points[creditor] -= owing
    issued = books.balances(Account.ISSUED)
    expired = books.balances(Account.EXPIRED)
    owed: defaultdict[MerchantId, int] = defaultdict(int)
    for (issuer, _), points in books.balances(Account.OWED).items():
        owed[issuer] += points
    for issuer in sorted({*books.issuers(), *open_points}):
        outstanding = issued.get(issuer, 0) - owed[issuer] - expired.get(issuer, 0)
        if outstanding != open_points[issuer]:
            yield (
                f"issuer {issuer}: issued less owed less expired is {outstanding} points, "
                f"and its open lots less debts to it are {open_points[issuer]}"
            )
        if expired.get(issuer, 0) != expired_points[issuer]:
            yield (
                f"{_name(Account.EXPIRED, issuer)} is {expired.get(issuer, 0)} points, "
                f"and lots record {expired_points[issuer]} as expired"
            )


def transaction_violations(recorded: RecordedTransaction) -> Iterator[str]:
    """A refund never exceeds its original, and a burn was taken whole."""
    name = f"transaction {recorded.reference} of {recorded.merchant}"
    points = recorded.result.points
    if not 0 <= recorded.points_refunded <= points:
        yield f"{name}: {recorded.points_refunded} of {points} points are refunded"
    if recorded.kind is TransactionKind.BURN:
        taken = sum(share.points for share in recorded.lots)
        if taken != points:
            yield f"{name}: {points} points were burned and {taken} taken out of lots"


def _name(account: Account, owner: Any) -> str:
    """The account's name, as ``debit_account`` and ``credit_account`` give it."""
    match account:
        case Account.OWED:
            parts = {"issuer": owner[0], "redeemer": owner[1]}
        case Account.DEBT:
            parts = {"card": owner[0], "issuer": owner[1]}
        case _:
            parts = {"card": owner, "issuer": owner}
    return account.format_map(parts)
