"""Statements: what the alliance and each merchant are told about a closed window.

A statement holds results only; the reports (JSON, CSV, workbook) give them a form. Nothing in it changes once the
window is closed, so the same log always gives the same statements.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from clearing.errors import require_identity
from clearing.model import Instant, MerchantId, Payment, SettlementMethod, WindowId
from settlement.v1.errors import NoSuchStatementError
from settlement.v1.money import exact_arithmetic
from settlement.v1.netting import BilateralNet
from settlement.v1.obligations import Obligation
from settlement.v1.points import IssuerPoints, Redemption


@dataclass(frozen=True, slots=True)
class Period:
    """The window, the log it was computed from, and the units its figures are in."""

    origin: str
    """Which alliance: the origin of its log."""
    window: WindowId
    first_day: datetime.date
    """First local day."""
    last_day: datetime.date
    """Last local day."""
    ends_at: Instant
    """The first instant after the window; shown in workbooks, not in the JSON."""
    time_zone: str
    """IANA name of the zone that decides days and months."""
    first_index: int
    """The window's first log entry."""
    end_index: int
    """The first log entry after the window."""
    log_root: bytes
    """RFC 6962 root of the log when it had ``log_size`` entries."""
    unit: str
    currency: str
    """ISO 4217 code."""
    currency_decimals: int
    method: SettlementMethod
    settlement_version: int
    """By which version it is settled."""

    @property
    def log_size(self) -> int:
        """Entries of the log from its beginning to the window's end: what the statements were computed from."""
        return self.end_index

    @property
    def entries(self) -> int:
        """Entries accepted in the window."""
        return self.end_index - self.first_index


@dataclass(frozen=True, slots=True)
class Position:
    """What one participant owes and is owed, in minor units."""

    participant: MerchantId
    payable_minor: int
    """Sum of what it owes, each obligation rounded."""
    receivable_minor: int
    """Sum of what it is owed, each obligation rounded."""

    @property
    def net_minor(self) -> int:
        """Receivable less payable: above zero it is paid, below zero it pays."""
        return self.receivable_minor - self.payable_minor


@dataclass(frozen=True, slots=True)
class MerchantStatement:
    """One merchant's window. ``points`` foots as ``IssuerPoints`` says, ``position`` is the net of ``obligations``,
    and ``payments`` add up to it.
    """

    period: Period
    merchant: MerchantId
    legal_name: str
    points: IssuerPoints
    redeemed_from_me: tuple[Redemption, ...]
    """The merchant's own points, by where they were redeemed: their sum is ``points.redeemed``."""
    redeemed_at_me: tuple[Redemption, ...]
    """Points redeemed at the merchant, by issuer."""
    obligations: tuple[Obligation, ...]
    """Those in which it is debtor or creditor, in the order of the alliance statement."""
    bilateral: tuple[BilateralNet, ...]
    """What remains with each counterparty after setting off, for information."""
    position: Position
    payments: tuple[Payment, ...]
    """Those it makes or receives."""

    def __post_init__(self) -> None:
        redeemed = sum(each.points for each in self.redeemed_from_me)
        require_identity(redeemed == self.points.redeemed, f"all of {self.merchant}'s redeemed points have a redeemer")
        _require_settled((self.position,), self.obligations, self.payments)

    @property
    def i_owe(self) -> tuple[Obligation, ...]:
        """Obligations to others."""
        return tuple(each for each in self.obligations if each.debtor == self.merchant != each.creditor)

    @property
    def i_am_owed(self) -> tuple[Obligation, ...]:
        """Obligations of others."""
        return tuple(each for each in self.obligations if each.creditor == self.merchant != each.debtor)


@dataclass(frozen=True, slots=True)
class AllianceStatement:
    """The whole window: every issuer's points, every obligation, all positions and the payments that settle them."""

    period: Period
    points: tuple[IssuerPoints, ...]
    """One a merchant, by identifier."""
    redemptions: tuple[Redemption, ...]
    obligations: tuple[Obligation, ...]
    """By debtor and creditor."""
    bilateral: tuple[BilateralNet, ...]
    positions: tuple[Position, ...]
    """One a participant, by identifier; the pool is one in the pool method."""
    payments: tuple[Payment, ...]
    """By payer and payee."""

    def __post_init__(self) -> None:
        require_identity(self.positions_sum_minor == 0, "positions sum to zero")
        _require_settled(self.positions, self.obligations, self.payments)

    @property
    def positions_sum_minor(self) -> int:
        """Sum of all positions in minor units: zero."""
        return sum(position.net_minor for position in self.positions)

    @property
    def obligations_minor(self) -> int:
        """Sum of all obligations in minor units: what would be paid one by one without netting."""
        return sum(obligation.amount_minor for obligation in self.obligations)

    @property
    def exact_minor(self) -> Decimal:
        """Sum of all obligations before rounding, in minor units."""
        with exact_arithmetic():
            return sum((obligation.exact_minor for obligation in self.obligations), Decimal(0))

    @property
    def remainder_minor(self) -> Decimal:
        """Sum of what rounding left over, in minor units: exact less rounded."""
        with exact_arithmetic():
            return sum((obligation.remainder_minor for obligation in self.obligations), Decimal(0))

    @property
    def payments_minor(self) -> int:
        """Sum of all payments in minor units."""
        return sum(payment.amount_minor for payment in self.payments)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a closed window settles to."""

    alliance: AllianceStatement
    merchants: tuple[MerchantStatement, ...]
    """One for each member when the window closed, by identifier."""
    alliance_digest: bytes
    """SHA-256 of the alliance's statement in its JSON form."""
    merchant_digests: Mapping[MerchantId, bytes]
    """The same of each merchant's."""

    @property
    def period(self) -> Period:
        """The window and the log it was computed from."""
        return self.alliance.period

    def statement_of(self, merchant: MerchantId) -> MerchantStatement:
        """The merchant's statement. Raises ``NoSuchStatementError`` if it was not a member when the window closed."""
        place = bisect_left(self.merchants, merchant, key=lambda statement: statement.merchant)
        if place == len(self.merchants) or self.merchants[place].merchant != merchant:
            raise NoSuchStatementError(merchant, self.period.window)
        return self.merchants[place]


def _require_settled(
    positions: Iterable[Position], obligations: Iterable[Obligation], payments: Iterable[Payment]
) -> None:
    """Each position is what the obligations come to, and what the payments settle."""
    payable_minor: Counter[MerchantId] = Counter()
    receivable_minor: Counter[MerchantId] = Counter()
    received_minor: Counter[MerchantId] = Counter()
    for obligation in obligations:
        if obligation.debtor != obligation.creditor:
            payable_minor[obligation.debtor] += obligation.amount_minor
            receivable_minor[obligation.creditor] += obligation.amount_minor
    for payment in payments:
        received_minor[payment.payee] += payment.amount_minor
        received_minor[payment.payer] -= payment.amount_minor
    for position in positions:
        who = position.participant
        require_identity(position.payable_minor == payable_minor[who], f"{who} owes what its obligations come to")
        require_identity(position.receivable_minor == receivable_minor[who], f"{who} is owed what obligations come to")
        require_identity(position.net_minor == received_minor[who], f"payments settle the position of {who}")
