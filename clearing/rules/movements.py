"""The postings of the ledger: what moves points, and between which accounts.

Each posting moves a whole number of points from a debit account to a credit account, so the books balance by
construction. What a movement means is one row of ``MOVEMENTS``: books, points of a settlement, rows of the database and
their checks follow from it. ``A`` is an issuer, ``B`` a redeemer, ``C`` a card. Accounts of issuers: ``issued/A``
(debit), ``owed/A/B`` and ``expired/A`` (credit). Of cards: ``card/C`` (credit), ``debt/C/A`` (debit), where ``A`` is
the merchant whose refunded points the card had spent already.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from clearing.model import CardToken, MerchantId, Points
from clearing.rules.card import LotKey


class Account(StrEnum):
    """The kinds of account, as the form of their names."""

    ISSUED = "issued/{issuer}"
    """What an issuer has issued and not taken back."""
    OWED = "owed/{issuer}/{redeemer}"
    """What an issuer owes a redeemer."""
    EXPIRED = "expired/{issuer}"
    """What expired unspent of an issuer's points."""
    CARD = "card/{card}"
    """What a card holds."""
    DEBT = "debt/{card}/{issuer}"
    """What a card owes a merchant."""


class Movement(IntEnum):
    """What a posting is for, and thereby its two accounts."""

    EARN = 1
    """``issued/A`` to ``card/C``: into a lot of A."""
    BURN = 2
    """``card/C`` to ``owed/A/B``: out of a lot of A, redeemed at B."""
    EARN_REFUNDED = 3
    """``card/C`` to ``issued/A``: out of a lot of A, taken back by A."""
    BURN_REFUNDED = 4
    """``owed/A/B`` to ``card/C``: back into the lot of A from which it was burned."""
    EXPIRY = 5
    """``card/C`` to ``expired/A``: a lot past its date."""
    EXPIRY_REVERSED = 6
    """``expired/A`` to ``issued/A``: an earn is taken back whose points had expired."""
    DEBT_INCURRED = 7
    """``debt/C/A`` to ``issued/A``: an earn is taken back whose points were spent; the card owes them to A."""
    EARN_TO_DEBT = 8
    """``issued/A`` to ``debt/C/A``: points earned at A pay what the card owes to A."""
    EARN_TO_CREDITOR = 9
    """``issued/A`` to ``owed/A/B``: points earned at A pay what the card owes to B, so A owes them to B."""
    DEBT_REINSTATED = 10
    """``issued/A`` to ``debt/C/A``: A got its points back from elsewhere, so the points it had issued stand again."""


class Tally(StrEnum):
    """Which of a transaction's sums a movement counts in: what its receipt says that it moved."""

    EARNED = "earned"
    BURNED = "burned"
    GIVEN_BACK = "given_back"
    """By the refund of a burn."""
    TAKEN_BACK = "taken_back"
    """By the refund of an earn."""


class MovementRow(NamedTuple):
    """What a movement means."""

    debit: Account
    credit: Account
    tally: Tally | None
    """None: it is no part of what the transaction moved for its customer."""
    pool_charge: int = 0
    """In the pool method, what each point adds to what its issuer pays for: 1, 0 or -1. Points that were spent or had
    expired return no fee when their earn is taken back: the pool has paid a redeemer for the spent ones, and an issuer
    could otherwise redeem its own points at the pool's cost (docs/decisions/0006)."""

    @property
    def issued(self) -> int:
        """What a point adds to those that its issuer has issued."""
        return self._debited(Account.ISSUED)

    @property
    def redeemed(self) -> int:
        """What a point adds to those that its issuer owes redeemers."""
        return -self._debited(Account.OWED)

    @property
    def expired(self) -> int:
        """What a point adds to those that expired unspent."""
        return -self._debited(Account.EXPIRED)

    @property
    def on_cards(self) -> int:
        """What a point adds to those that cards hold."""
        return -self._debited(Account.CARD)

    @property
    def owed_by_cards(self) -> int:
        """What a point adds to those that cards owe its issuer."""
        return self._debited(Account.DEBT)

    @property
    def is_of_lot(self) -> bool:
        """Whether a lot is put into, taken out of, or was expired: then the posting says which."""
        return not {Account.CARD, Account.EXPIRED}.isdisjoint((self.debit, self.credit))

    @property
    def has_redeemer(self) -> bool:
        """Whether it is redeemed, or given back, at a merchant that the posting names."""
        return Account.OWED in (self.debit, self.credit)

    def _debited(self, account: Account) -> int:
        return (self.debit is account) - (self.credit is account)


MOVEMENTS: Final[Mapping[Movement, MovementRow]] = MappingProxyType(
    {
        Movement.EARN: MovementRow(Account.ISSUED, Account.CARD, Tally.EARNED, pool_charge=1),
        Movement.BURN: MovementRow(Account.CARD, Account.OWED, Tally.BURNED),
        Movement.EARN_REFUNDED: MovementRow(Account.CARD, Account.ISSUED, Tally.TAKEN_BACK, pool_charge=-1),
        Movement.BURN_REFUNDED: MovementRow(Account.OWED, Account.CARD, Tally.GIVEN_BACK),
        Movement.EXPIRY: MovementRow(Account.CARD, Account.EXPIRED, None),
        Movement.EXPIRY_REVERSED: MovementRow(Account.EXPIRED, Account.ISSUED, Tally.TAKEN_BACK),
        Movement.DEBT_INCURRED: MovementRow(Account.DEBT, Account.ISSUED, Tally.TAKEN_BACK),
        Movement.EARN_TO_DEBT: MovementRow(Account.ISSUED, Account.DEBT, Tally.EARNED),
        Movement.EARN_TO_CREDITOR: MovementRow(Account.ISSUED, Account.OWED, Tally.EARNED, pool_charge=1),
        Movement.DEBT_REINSTATED: MovementRow(Account.ISSUED, Account.DEBT, None),
    }
)
"""What each movement means. A new one is a member of ``Movement``, a row here, and its tests."""


class Posting(NamedTuple):
    """Points moved from one account to another."""

    card: CardToken
    movement: Movement
    issuer: MerchantId
    """``A`` of the movement."""
    redeemer: MerchantId | None
    """``B`` of the movement, where it has one."""
    expires_on: datetime.date | None
    """The lot's last day, where a lot of A is touched."""
    issued_in: datetime.date
    """The month in which the points were issued, as its first day: its prices apply."""
    points: Points
    unit: str
    """What the points count in."""


def of_lot(
    card: CardToken, movement: Movement, lot: LotKey, points: int, redeemer: MerchantId | None = None
) -> Posting:
    """The posting that moves points of a lot."""
    issuer, issued_in, expires_on, unit = lot
    return Posting(card, movement, issuer, redeemer, expires_on, issued_in, Points(points), unit)


def debit_account(posting: Posting) -> str:
    """The account the points leave."""
    return MOVEMENTS[posting.movement].debit.format_map(posting._asdict())


def credit_account(posting: Posting) -> str:
    """The account the points come to."""
    return MOVEMENTS[posting.movement].credit.format_map(posting._asdict())


class Flow(NamedTuple):
    """The postings of a range of entries, summed over everything settlement does not look at."""

    movement: Movement
    issuer: MerchantId
    redeemer: MerchantId | None
    issued_in: datetime.date
    unit: str
    points: Points
