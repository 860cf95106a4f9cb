"""The postings of the ledger: which account pairs exist, and what moves points between them.

Each posting moves a whole number of points from a debit account to a credit account, so the books balance by
construction. ``A`` is an issuer, ``B`` a redeemer, ``C`` a card (design: ledger). Accounts of issuers: ``issued/A``
(debit), ``owed/A/B`` and ``expired/A`` (credit). Of cards: ``card/C`` (credit), ``debt/C/A`` (debit), where ``A`` is
the merchant whose refunded points the card had spent already.
"""

from __future__ import annotations

import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple

from clearing.model import CardToken, MerchantId, Points


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


class Posting(NamedTuple):
    """Points moved from one account to another."""

    card: CardToken
    movement: Movement
    issuer: MerchantId
    """``A`` of the movement."""
    redeemer: MerchantId | None
    """``B`` of the movement, where it has one."""
    expires_on: datetime.date | None
    """The lot's expiry date, where a lot of A is touched."""
    priced_on: datetime.date
    """The local day whose prices apply: the transaction's, or the original's where something is taken back."""
    points: Points


ACCOUNTS: dict[Movement, tuple[Account, Account]] = {
    Movement.EARN: (Account.ISSUED, Account.CARD),
    Movement.BURN: (Account.CARD, Account.OWED),
    Movement.EARN_REFUNDED: (Account.CARD, Account.ISSUED),
    Movement.BURN_REFUNDED: (Account.OWED, Account.CARD),
    Movement.EXPIRY: (Account.CARD, Account.EXPIRED),
    Movement.EXPIRY_REVERSED: (Account.EXPIRED, Account.ISSUED),
    Movement.DEBT_INCURRED: (Account.DEBT, Account.ISSUED),
    Movement.EARN_TO_DEBT: (Account.ISSUED, Account.DEBT),
    Movement.EARN_TO_CREDITOR: (Account.ISSUED, Account.OWED),
    Movement.DEBT_REINSTATED: (Account.ISSUED, Account.DEBT),
}
"""The account debited and the account credited by each movement."""


def debit_account(posting: Posting) -> str:
    """The account the points leave."""
    return ACCOUNTS[posting.movement][0].format_map(posting._asdict())


def credit_account(posting: Posting) -> str:
    """The account the points come to."""
    return ACCOUNTS[posting.movement][1].format_map(posting._asdict())


class Flow(NamedTuple):
    """The postings of a range of entries, summed over everything settlement does not look at."""

    movement: Movement
    issuer: MerchantId
    redeemer: MerchantId | None
    priced_on: datetime.date
    points: Points
