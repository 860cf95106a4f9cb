"""The postings of the ledger: which account pairs exist, and what moves points between them.

Each posting moves a whole number of points from a debit account to a credit account, so the books balance by construction.
``A`` is an issuer, ``B`` a redeemer, ``C`` a card (design: ledger). Accounts of issuers:
``issued/A`` (debit), ``owed/A/B`` and ``expired/A`` (credit). Of cards: ``card/C`` (credit), ``debt/C/A`` (debit), where ``A`` is
the merchant whose refunded points the card had spent already.
"""

from __future__ import annotations

import datetime
from enum import IntEnum
from typing import NamedTuple

from clearing.model import CardToken, MerchantId, Points


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


_ACCOUNTS = {
    Movement.EARN: ("issued/{issuer}", "card/{card}"),
    Movement.BURN: ("card/{card}", "owed/{issuer}/{redeemer}"),
    Movement.EARN_REFUNDED: ("card/{card}", "issued/{issuer}"),
    Movement.BURN_REFUNDED: ("owed/{issuer}/{redeemer}", "card/{card}"),
    Movement.EXPIRY: ("card/{card}", "expired/{issuer}"),
    Movement.EXPIRY_REVERSED: ("expired/{issuer}", "issued/{issuer}"),
    Movement.DEBT_INCURRED: ("debt/{card}/{issuer}", "issued/{issuer}"),
    Movement.EARN_TO_DEBT: ("issued/{issuer}", "debt/{card}/{issuer}"),
    Movement.EARN_TO_CREDITOR: ("issued/{issuer}", "owed/{issuer}/{redeemer}"),
    Movement.DEBT_REINSTATED: ("issued/{issuer}", "debt/{card}/{issuer}"),
}


def debit_account(posting: Posting) -> str:
    """The account the points leave."""
    return _ACCOUNTS[posting.movement][0].format_map(posting._asdict())


def credit_account(posting: Posting) -> str:
    """The account the points come to."""
    return _ACCOUNTS[posting.movement][1].format_map(posting._asdict())


class Flow(NamedTuple):
    """The postings of a range of entries, summed over everything settlement does not look at."""

    movement: Movement
    issuer: MerchantId
    redeemer: MerchantId | None
    priced_on: datetime.date
    points: Points
