"""The domain's values: what merchants present, what operators instruct, and what it comes to.

Immutable, free of I/O and of any wire format. ``clearing.payload`` makes them from protobuf bytes, ``clearing.rules``
decides on them. Vocabulary: ``docs/architecture.md``.

What is made for every single transaction is a ``NamedTuple``: as immutable as a frozen dataclass, and made in a quarter
of the time (docs/performance.md).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple, NewType

MerchantId = NewType("MerchantId", str)
"""Identifier of a member of the alliance."""
StoreId = NewType("StoreId", str)
"""Identifier of a shop, unique in the alliance."""
CardToken = NewType("CardToken", str)
"""``card_`` and 26 Crockford base32 characters: 128 random bits."""
Reference = NewType("Reference", str)
"""What the signer calls a transaction or an instruction, unique for the signer for ever."""
KeyId = NewType("KeyId", str)
"""The first 16 bytes of the SHA-256 of an Ed25519 public key, in hexadecimal."""
Points = NewType("Points", int)
"""A whole number of the alliance's unit."""
EntryIndex = NewType("EntryIndex", int)
"""An entry's place in the log, from 0."""
Instant = NewType("Instant", int)
"""A point in time: microseconds since 1970-01-01T00:00:00Z."""
WindowId = NewType("WindowId", str)
"""A settlement period: a local month as ``YYYY-MM``."""

RULES_VERSION = 1
SETTLEMENT_VERSION = 1
"""The versions that a new alliance begins with: the newest that this program has."""

MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_MINUTE = 60 * MICROSECONDS_PER_SECOND
MICROSECONDS_PER_DAY = 86_400 * MICROSECONDS_PER_SECOND

POINTS_PER_TRANSACTION_MAX = 1_000_000_000
"""Most points one transaction moves."""
POINTS_PER_CARD_MAX = 1_000_000_000_000
"""Most points a card holds, and most it owes. Far below 2^63, so that no sum in the database overflows."""

POOL = MerchantId("pool")
"""The participant of a pool settlement that is not a merchant; no merchant may be admitted under this name."""


class Channel(IntEnum):
    """Through what a transaction happened; numbers as in ``clearing.v1.Channel``."""

    TILL = 1
    ONLINE_SHOP = 2
    APP = 3
    BACK_OFFICE = 4


class SettlementMethod(IntEnum):
    """Who pays whom for points; numbers as in ``clearing.v1.SettlementMethod``."""

    ISSUER_PAYS = 1
    POOL = 2


class ClockKind(IntEnum):
    """Where entries take their time from; numbers as in ``clearing.v1.Clock``."""

    SYSTEM = 1
    PRESENTED = 2


class Role(IntEnum):
    """What a key may do; numbers as in ``clearing.v1.Role``."""

    OPERATOR = 1
    FINANCE = 2
    AUDITOR = 3
    MERCHANT = 4
    MERCHANT_OFFICE = 5
    SERVICE = 6

    @property
    def is_of_a_merchant(self) -> bool:
        """Whether its keys belong to a merchant; all others are of the alliance's own people."""
        return self in (Role.MERCHANT, Role.MERCHANT_OFFICE)


class Outcome(IntEnum):
    """What a decision came to; numbers and meanings as in ``clearing.v1.Outcome``."""

    ACCEPTED = 1

    ATOMIC_ABORTED = 2
    REFERENCE_REUSED = 3
    UNKNOWN_CARD = 4
    CARD_EXISTS = 5
    UNKNOWN_STORE = 6
    STORE_OF_ANOTHER_MERCHANT = 7
    UNKNOWN_UNIT = 8
    OCCURRED_IN_FUTURE = 9
    LATE_PRESENTMENT = 10
    INSUFFICIENT_POINTS = 11
    BALANCE_LIMIT_EXCEEDED = 12
    UNKNOWN_ORIGINAL = 13
    ORIGINAL_OF_ANOTHER_CARD = 14
    ORIGINAL_NOT_ACCEPTED = 15
    ORIGINAL_NOT_REFUNDABLE = 16
    ALREADY_REFUNDED = 17
    REFUND_EXCEEDS_REMAINING = 18

    ALLIANCE_EXISTS = 30
    MERCHANT_EXISTS = 31
    UNKNOWN_MERCHANT = 32
    STORE_EXISTS = 33
    KEY_EXISTS = 34
    KEY_NOT_REGISTERED = 35
    KEY_ALREADY_REVOKED = 36
    LAST_OPERATOR_KEY = 37
    TERMS_BACKDATED = 38
    WINDOW_NOT_OVER = 39
    WINDOW_ALREADY_CLOSED = 40
    WINDOW_OUT_OF_ORDER = 41
    WINDOW_NOT_CLOSED = 42
    SETTLEMENT_NOT_PROPOSED = 43
    PROPOSAL_DIFFERS = 44
    SETTLEMENT_ALREADY_APPROVED = 45
    SETTLEMENT_NOT_APPROVED = 46
    UNKNOWN_PAYMENT = 47
    PAYMENT_ALREADY_RECORDED = 48
    AMENDMENT_TOO_SOON = 50
    CONSTITUTION_UNCHANGED = 51
    ADOPTION_TOO_SOON = 52
    VERSION_GOES_BACK = 53
    VERSIONS_UNCHANGED = 54
    SETTLEMENT_DIFFERS = 60

    OFFSETS_TOO_SOON = 70
    OFFSETS_UNCHANGED = 71


# ---- what a merchant presents ----


@dataclass(frozen=True, slots=True)
class OpenCard:
    """Makes the card known to the alliance."""


class Earn(NamedTuple):
    """Issues points of the presenting merchant to the card."""

    points: Points
    purchase_amount_minor: int | None
    """The purchase in minor units of the alliance's currency; reported, never computed with."""


class Burn(NamedTuple):
    """Redeems points at the presenting merchant."""

    points: Points


class Refund(NamedTuple):
    """Takes back an earn or a burn, whole or in part."""

    original_reference: Reference
    points: Points | None
    """None: all that remains of the original."""


TransactionDetails = OpenCard | Earn | Burn | Refund
"""What a transaction of each kind says beyond what they all say."""


class TransactionKind(IntEnum):
    """The kinds of transaction; numbers as in ``clearing.v1.TransactionKind``, names as the members of its ``kind``."""

    OPEN_CARD = 1
    EARN = 2
    BURN = 3
    REFUND = 4


KIND_OF: Mapping[type[TransactionDetails], TransactionKind] = {
    OpenCard: TransactionKind.OPEN_CARD,
    Earn: TransactionKind.EARN,
    Burn: TransactionKind.BURN,
    Refund: TransactionKind.REFUND,
}
"""The kind of each form of details."""


class Transaction(NamedTuple):
    """One card transaction under the merchant's own reference."""

    reference: Reference
    card: CardToken
    store: StoreId
    occurred_at: Instant
    channel: Channel
    unit: str
    """Empty: the alliance's unit."""
    kind: TransactionDetails
    content_digest: bytes
    """First 16 bytes of the SHA-256 of the canonical protobuf form, times cut to the microsecond: tells the same
    content from other content."""


class Presentment(NamedTuple):
    """What a merchant signs."""

    origin: str
    merchant: MerchantId
    presented_at: Instant
    atomic: bool
    transactions: tuple[Transaction, ...]
    log_id: bytes = b""
    """The log it is for: the first 16 bytes of the RFC 6962 leaf hash of its entry 0."""


# ---- what an operator or finance instructs ----


@dataclass(frozen=True, slots=True)
class RegisterKey:
    """Makes a key valid."""

    public_key: bytes
    """32 bytes, Ed25519."""
    role: Role
    merchant: MerchantId | None
    """Whose key it is, where the role is a merchant's."""
    holder: str
    """The person or system that holds it: two keys of one holder are one person."""
    valid_from: Instant | None
    valid_until: Instant | None
    """Valid until before here."""


class OffsetChange(NamedTuple):
    """From an instant on, local time is ahead of UTC by so much."""

    at: Instant
    """A whole minute."""
    offset_minutes: int
    """Negative: behind UTC."""


@dataclass(frozen=True, slots=True)
class ZoneOffsets:
    """What decides days and months: by how much local time is ahead of UTC, from when on.

    Logged, so that nobody's time zone data decides. After the last change its offset holds for ever.
    """

    offset_minutes: int
    """Before the first change."""
    changes: tuple[OffsetChange, ...]
    """In the order of time."""
    known_until: Instant
    """For how long whoever logged them knew of changes; the rules do not ask."""


@dataclass(frozen=True, slots=True)
class CreateAlliance:
    """Founds the alliance: the log's first entry and the alliance's constitution."""

    unit: str
    currency: str
    currency_decimals: int
    time_zone: str
    """IANA name, for people: what decides is ``zone_offsets``."""
    settlement_method: SettlementMethod
    clock: ClockKind
    log_verifier: str
    """Verifier key of the log's checkpoints (C2SP signed-note); its name is the origin."""
    operator_keys: tuple[RegisterKey, ...]
    four_eyes: bool
    lot_lifetime_months: int
    late_presentment_days: int
    issuance_price: Decimal
    """Major units a point."""
    redemption_price: Decimal
    """Major units a point."""
    rules_version: int
    notice_days: int
    """Days between an amendment and what it changes, at least."""
    settlement_version: int
    zone_offsets: ZoneOffsets
    """Of the time zone, as known at the founding."""


@dataclass(frozen=True, slots=True)
class AdmitMerchant:
    """Makes a merchant a member."""

    merchant: MerchantId
    legal_name: str


@dataclass(frozen=True, slots=True)
class OpenStore:
    """Opens a merchant's store."""

    merchant: MerchantId
    store: StoreId


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """Ends a key's validity."""

    key_id: KeyId
    effective_at: Instant | None
    compromised_since: Instant | None


@dataclass(frozen=True, slots=True)
class SetTerms:
    """Sets prices from a local day on: the alliance's, a merchant's own, or a pair's."""

    merchant: MerchantId | None
    counterparty: MerchantId | None
    effective_from: datetime.date
    issuance_price: Decimal | None
    """Major units a point; None for a pair."""
    redemption_price: Decimal
    """Major units a point."""


@dataclass(frozen=True, slots=True)
class CloseWindow:
    """Fixes the range of a month that is over."""

    window: WindowId


@dataclass(frozen=True, slots=True, order=True)
class Payment:
    """One payment between two participants of a settlement."""

    payer: MerchantId
    payee: MerchantId
    amount_minor: int
    """Minor units of the alliance's currency, at least 1."""


@dataclass(frozen=True, slots=True)
class ProposeSettlement:
    """What a closed window settles to: roots over its statements and its payments."""

    window: WindowId
    settlement_version: int
    alliance_statement_digest: bytes
    """SHA-256 of the alliance's statement in JSON."""
    statements: int
    """Members, each with a statement."""
    statements_root: bytes
    """Over the digests of the members' statements, in the order of their identifiers."""
    payments: int
    payments_root: bytes
    """Over the payments, in the order of payer and payee."""
    payments_minor: int
    """Sum of all payments in minor units."""


@dataclass(frozen=True, slots=True)
class ApproveSettlement:
    """Agrees to a proposal, exactly as it was logged last."""

    proposal: ProposeSettlement


@dataclass(frozen=True, slots=True)
class RecordPayment:
    """Records that a payment of an approved settlement was made."""

    window: WindowId
    payment: Payment
    paid_on: datetime.date
    bank_reference: str
    index: int
    """The payment's place among the settlement's payments, from 0."""
    salt: bytes
    path: tuple[bytes, ...]
    """From the payment's leaf to the proposal's root."""


@dataclass(frozen=True, slots=True)
class ExpireLots:
    """Books the expiry of past-date lots of the named cards."""

    cards: tuple[CardToken, ...]


@dataclass(frozen=True, slots=True)
class SetOffsets:
    """Replaces the offsets' changes from an instant on."""

    effective_from: Instant
    """Changes before it stay."""
    changes: tuple[OffsetChange, ...]
    """In the order of time, none before ``effective_from``."""
    known_until: Instant


@dataclass(frozen=True, slots=True)
class AdoptRules:
    """Has a version of the rules and of the settlement hold from a window on."""

    window: WindowId
    """The first of these versions."""
    rules_version: int
    settlement_version: int


@dataclass(frozen=True, slots=True)
class AmendConstitution:
    """Changes the constitution from a local day on. What is None stays as it is; at least one is not."""

    effective_from: datetime.date
    late_presentment_days: int | None
    lot_lifetime_months: int | None
    notice_days: int | None


Action = (
    CreateAlliance
    | AdmitMerchant
    | OpenStore
    | RegisterKey
    | RevokeKey
    | SetTerms
    | CloseWindow
    | ProposeSettlement
    | ApproveSettlement
    | RecordPayment
    | ExpireLots
    | AdoptRules
    | SetOffsets
    | AmendConstitution
)


InstructionKey = tuple[MerchantId | None, Reference]
"""An instruction's party, which is a merchant or with None the alliance, and its reference, unique for that party."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What an operator, a finance officer or a merchant's office signs."""

    origin: str
    issued_at: Instant
    reference: Reference
    action: Action
    content_digest: bytes
    """First 16 bytes of the SHA-256 of the instruction's canonical protobuf form without ``issued_at`` and
    ``expires_at``."""
    merchant: MerchantId | None = None
    """The party: the merchant whose office signs; None: the alliance's people sign."""
    log_id: bytes = b""
    """As in ``Presentment``; empty in the founding instruction, whose entry makes the log."""
    expires_at: Instant | None = None
    """It is decided before here or not at all; None in the founding instruction only."""

    @property
    def key(self) -> InstructionKey:
        """What the ledger knows it by."""
        return self.merchant, self.reference


# ---- what it comes to ----


class TransactionResult(NamedTuple):
    """What one transaction came to: final, accepted or refused."""

    outcome: Outcome
    points: Points
    """Points that moved."""
    points_available: Points
    """What the card can spend afterwards."""
    points_owed: Points
    """What the card owes afterwards."""
    original_index: EntryIndex | None = None
    """Where the reference was decided before: the entry with the original."""


class EntryLinks(NamedTuple):
    """Where an entry says that others are, so that a database that lost one contradicts itself."""

    last_instruction_index: EntryIndex
    """The last instruction before it; 0 for entry 0 itself."""
    month_first_index: EntryIndex
    """The first entry of its month."""


@dataclass(frozen=True, slots=True)
class WindowRange:
    """Entries from ``first_index`` up to, not including, ``end_index``."""

    first_index: EntryIndex
    end_index: EntryIndex


@dataclass(frozen=True, slots=True)
class InstructionResult:
    """What one instruction came to: final, accepted or refused."""

    outcome: Outcome
    window_range: WindowRange | None = None
    points_expired: Points = Points(0)


def refused(outcome: Outcome) -> TransactionResult:
    """The result of a transaction that moved nothing on a card that is not known or not looked at."""
    return TransactionResult(outcome, Points(0), Points(0), Points(0))
