"""The alliance as the rules see it: its constitution, merchants, stores, keys, terms and windows.

It follows from the log's instructions, and from the month in which each entry was accepted. Every change makes a new
value, so any thread may read one while the writer makes the next.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import IntEnum

from clearing.calendar import Day, LocalCalendar, next_window
from clearing.model import (
    AdoptRules,
    AmendConstitution,
    CreateAlliance,
    EntryIndex,
    EntryLinks,
    Instant,
    KeyId,
    MerchantId,
    ProposeSettlement,
    RegisterKey,
    Role,
    StoreId,
    WindowId,
    WindowRange,
)


@dataclass(frozen=True, slots=True)
class Key:
    """A registered key."""

    key_id: KeyId
    registration: RegisterKey
    valid_from: Instant
    revoked_at: Instant | None = None
    """From when on its signatures count no more."""
    compromised_since: Instant | None = None

    def is_valid_at(self, at: Instant) -> bool:
        """Whether what it signs counts at ``at``."""
        valid_until = self.registration.valid_until
        return (
            self.valid_from <= at
            and (valid_until is None or at < valid_until)
            and (self.revoked_at is None or at < self.revoked_at)
        )


@dataclass(frozen=True, slots=True)
class Merchant:
    """A member of the alliance."""

    merchant: MerchantId
    legal_name: str
    stores: tuple[StoreId, ...] = ()


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of one scope from one local day on, in major units of the currency a point."""

    effective_from: datetime.date
    issuance_price: Decimal | None
    """None: the wider scope's applies."""
    redemption_price: Decimal


@dataclass(frozen=True, slots=True)
class Amendment:
    """An accepted amendment of the constitution."""

    entry_index: EntryIndex
    action: AmendConstitution


@dataclass(frozen=True, slots=True)
class Adoption:
    """An accepted adoption of versions."""

    entry_index: EntryIndex
    action: AdoptRules


@dataclass(frozen=True, slots=True)
class Versions:
    """By what a window is decided and settled."""

    rules: int
    settlement: int


class WindowStatus(IntEnum):
    """How far a closed window's settlement has come; numbers as in ``clearing.v1.WindowStatus``."""

    OPEN = 1
    CLOSED = 2
    PROPOSED = 3
    APPROVED = 4
    SETTLED = 5


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window whose range is fixed."""

    range: WindowRange
    merchants: tuple[MerchantId, ...]
    """The members when it closed, by identifier: each gets a statement."""
    proposal: ProposeSettlement | None = None
    proposed_in: EntryIndex | None = None
    """The entry of the proposal."""
    proposed_by: frozenset[str] = frozenset()
    """Who signed it."""
    approved: bool = False
    payments_recorded: frozenset[int] = frozenset()
    """The places of those that were made among the settlement's payments."""

    @property
    def status(self) -> WindowStatus:
        """How far its settlement has come."""
        if self.proposal is None:
            return WindowStatus.CLOSED
        if not self.approved:
            return WindowStatus.PROPOSED
        if len(self.payments_recorded) < self.proposal.payments:
            return WindowStatus.APPROVED
        return WindowStatus.SETTLED


TermsScope = tuple[MerchantId | None, MerchantId | None]
"""Merchant and counterparty; (None, None) is the alliance's."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything that instructions have set up."""

    origin: str
    constitution: CreateAlliance
    """As founded. What can be amended is asked for with ``constitution_on``; all else never changes."""
    founded_in: WindowId
    """The first window: the month of the log's first entry."""
    calendar: LocalCalendar
    """By the time zone's offsets as logged, with every correction since the founding."""
    founded_at: Instant
    """When the log's first entry was accepted."""
    log_id: bytes = b""
    """The first 16 bytes of the leaf hash of the log's first entry, which everything signed names."""
    last_instruction: EntryIndex = field(default=EntryIndex(0))
    """The entry of the newest instruction, whatever it came to."""
    merchants: Mapping[MerchantId, Merchant] = field(default_factory=dict)
    stores: Mapping[StoreId, MerchantId] = field(default_factory=dict)
    keys: Mapping[KeyId, Key] = field(default_factory=dict)
    terms: Mapping[TermsScope, tuple[Prices, ...]] = field(default_factory=dict)
    """By scope, in the order of their dates."""
    window_starts: Mapping[WindowId, EntryIndex] = field(default_factory=dict)
    """For each month that has entries: the index of its first."""
    closed_windows: Mapping[WindowId, ClosedWindow] = field(default_factory=dict)
    """In order."""
    amendments: tuple[Amendment, ...] = ()
    """In the order in which they take effect: by their first days, those of one day as they were decided."""
    amended: tuple[tuple[datetime.date, CreateAlliance], ...] = ()
    """What the amendments make of the constitution, each from its first day on."""
    adoptions: tuple[Adoption, ...] = ()
    """By window, each window once."""

    present_day: Day | None = field(default=None, compare=False, repr=False)
    """The local day of the newest entry, remembered; it follows from the calendar, which nobody changes without it."""

    def with_calendar(self, calendar: LocalCalendar) -> Directory:
        """This directory by these offsets."""
        return replace(self, calendar=calendar, present_day=None)

    def constitution_on(self, day: datetime.date) -> CreateAlliance:
        """The constitution in force on a local day."""
        in_force = self.constitution
        for effective_from, amended in self.amended:
            if effective_from > day:
                break
            in_force = amended
        return in_force

    def versions_in(self, window: WindowId) -> Versions:
        """By what the window is decided and settled: by what was adopted last for it or an earlier one.

        All its entries have one version, since an adoption names a window that has not begun: it is the version of the
        window's first entry, and where there is none that in force at its end.
        """
        in_force = Versions(self.constitution.rules_version, self.constitution.settlement_version)
        for adoption in self.adoptions:
            if adoption.action.window > window:
                break
            in_force = Versions(adoption.action.rules_version, adoption.action.settlement_version)
        return in_force

    def public_key(self, key_id: KeyId) -> bytes | None:
        """The registered public key of this keyid, valid or not."""
        key = self.keys.get(key_id)
        return key.registration.public_key if key is not None else None

    def has_office(self, merchant: MerchantId, at: Instant) -> bool:
        """Whether a key of the merchant's office is valid at ``at``."""
        return any(
            key.registration.role is Role.MERCHANT_OFFICE
            and key.registration.merchant == merchant
            and key.is_valid_at(at)
            for key in self.keys.values()
        )

    def window_at(self, instant: Instant) -> WindowId:
        """The window an entry accepted at ``instant`` falls in."""
        return self._day_at(instant).window

    def local_date(self, instant: Instant) -> datetime.date:
        """The alliance's local day at ``instant``."""
        return self._day_at(instant).date

    def _day_at(self, instant: Instant) -> Day:
        day = self.present_day  # nearly always: asked for several times an entry, and entries come many a day
        if day is not None and day.starts_at <= instant < day.ends_at:
            return day
        return self.calendar.day_at(instant)

    def with_entry(self, index: EntryIndex, accepted_at: Instant) -> Directory:
        """This directory after an entry of that time: it opens the entry's window if it is the first in it."""
        day = self._day_at(accepted_at)
        if day is self.present_day:
            return self
        window_starts = self.window_starts
        if day.window not in window_starts:
            window_starts = {**window_starts, day.window: index}
        return replace(self, present_day=day, window_starts=window_starts)

    def with_instruction(self, index: EntryIndex, accepted_at: Instant) -> Directory:
        """This directory after an instruction's entry, whatever it came to."""
        return replace(self, last_instruction=index).with_entry(index, accepted_at)

    def links_of(self, index: EntryIndex, accepted_at: Instant) -> EntryLinks:
        """What the next entry, of this index and time, says of those before it."""
        return EntryLinks(self.last_instruction, self.window_starts.get(self.window_at(accepted_at), index))

    def first_index_from(self, window: WindowId, log_size: int) -> EntryIndex:
        """Index of the first entry in ``window`` or later; the log's size where there is none yet."""
        starts = [index for started, index in self.window_starts.items() if started >= window]
        return min(starts, default=EntryIndex(log_size))

    def next_to_close(self) -> WindowId:
        """The earliest window that is not closed."""
        if not self.closed_windows:
            return self.founded_in
        return next_window(max(self.closed_windows))
