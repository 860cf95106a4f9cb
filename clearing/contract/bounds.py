"""The one table of what a message may hold: sizes, patterns and ranges, and the checks for them.

They stand in code, not in the proto: an old log must validate for ever exactly as it did, whatever a validation library
becomes (docs/decisions: validation).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final, NoReturn

from google.protobuf.timestamp_pb2 import Timestamp

from clearing.errors import ErrorReason, Rejection
from clearing.model import (
    MICROSECONDS_PER_SECOND,
    POINTS_PER_TRANSACTION_MAX,
    POOL,
    CardToken,
    Instant,
    KeyId,
    MerchantId,
    Points,
    Reference,
    StoreId,
    WindowId,
)

NANOS_PER_MICROSECOND = 1_000

PAYLOAD_BYTES_MAX = 40_960
TRANSACTIONS_MAX = 500
SIGNATURES_MAX = 4
EXPIRE_CARDS_MAX = 500
PURCHASE_AMOUNT_MINOR_MAX = 10**12
PAYMENT_AMOUNT_MINOR_MAX = 10**18
PAYMENTS_MINOR_MAX = 9 * 10**18
"""All payments of a window together."""
SETTLEMENT_LEAVES_MAX = 1_000_000
"""Members, and payments of one window."""
SETTLEMENT_PATH_MAX = 20
"""Hashes of the longest path in a tree of so many leaves."""
PRICE_MAX = Decimal(1_000_000)
OPERATOR_KEYS_MAX = 4
OFFSET_CHANGES_MAX = 256
OFFSET_MINUTES_MIN = -12 * 60
OFFSET_MINUTES_MAX = 14 * 60
VERSION_MAX = 1_000_000
AMENDABLE: Final[Mapping[str, tuple[int, int]]] = {
    "late_presentment_days": (1, 366),
    "lot_lifetime_months": (1, 120),
    "notice_days": (0, 366),
}
"""What of a constitution can be amended, and the least and the most that it may be."""
LOG_ID_BYTES = 16
INSTRUCTION_LIFETIME_DAYS_MAX = 30
"""How long after it was issued an instruction may still be decided."""

_REFERENCE = re.compile(r"[!-~]{1,64}")
_CARD_TOKEN = re.compile(r"card_[0-7][0-9A-HJKMNP-TV-Z]{25}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEY_ID = re.compile(r"[0-9a-f]{32}")
_UNIT = re.compile(r"[A-Z]{3,8}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_WINDOW = re.compile(r"[12][0-9]{3}-(0[1-9]|1[0-2])")
_DATE = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}")
_PRICE = re.compile(r"(0|[1-9][0-9]{0,6})(\.[0-9]{1,8})?")
_TIME_ZONE = re.compile(r"UTC|(?=.{1,64}$)[A-Z][A-Za-z]+(/[A-Z][A-Za-z0-9_+-]*){1,2}")
"""Area and location. Names without an area may mean something of the machine's own, such as its local time."""
_BANK_REFERENCE = re.compile(r"[A-Za-z0-9-]{1,35}")
_SECONDS_MAX = 4_102_444_800  # 2100-01-01: nothing real lies beyond, and every date computed from it exists.


def invalid(field: str, message: str, reason: ErrorReason = ErrorReason.INVALID_FIELD) -> NoReturn:
    """Refuse the payload because of this field."""
    raise Rejection(reason, f"{field}: {message}", field=field)


def reference(text: str, field: str) -> Reference:
    """1 to 64 printable ASCII characters without spaces."""
    if not _REFERENCE.fullmatch(text):
        invalid(field, "must be 1 to 64 printable ASCII characters without spaces")
    return Reference(text)


def card_token(text: str, field: str) -> CardToken:
    """``card_`` and 26 Crockford base32 characters in capitals that hold 128 bits."""
    if not _CARD_TOKEN.fullmatch(text):
        # The value is not repeated: it may be somebody's phone or card number.
        invalid(
            field,
            'must be "card_" and 26 Crockford base32 characters of 128 random bits; never a phone, name or card number',
            ErrorReason.MALFORMED_CARD_TOKEN,
        )
    return CardToken(text)


@lru_cache(maxsize=16_384)
def _shared_slug(text: str) -> str | None:
    """The text if it is a slug: one and the same object for all who name it, since few are named again and again."""
    return text if _SLUG.fullmatch(text) else None


def slug(text: str, field: str) -> str:
    """1 to 32 of a-z, 0-9 and hyphens, beginning with a letter or digit."""
    shared = _shared_slug(text)
    if shared is None:
        invalid(field, "must be 1 to 32 of a-z, 0-9 and hyphens, beginning with a letter or digit")
    return shared


def merchant(text: str, field: str) -> MerchantId:
    """A slug that is not the pool's."""
    if text == POOL:
        invalid(field, f'"{POOL}" is the settlement pool; name the merchant otherwise')
    return MerchantId(slug(text, field))


def participant(text: str, field: str) -> MerchantId:
    """A merchant or the pool."""
    return MerchantId(slug(text, field))


def store(text: str, field: str) -> StoreId:
    """A slug."""
    return StoreId(slug(text, field))


def key_id(text: str, field: str) -> KeyId:
    """32 lower-case hexadecimal characters."""
    if not _KEY_ID.fullmatch(text):
        invalid(field, "must be a keyid: 32 lower-case hexadecimal characters")
    return KeyId(text)


def points(number: int, field: str) -> Points:
    """1 to the most one transaction moves."""
    if not 1 <= number <= POINTS_PER_TRANSACTION_MAX:
        invalid(field, f"must be 1 to {POINTS_PER_TRANSACTION_MAX:,} points", ErrorReason.POINTS_OUT_OF_RANGE)
    return Points(number)


def whole_number(number: int, least: int, most: int, field: str) -> int:
    """A number within the bounds, both included."""
    if not least <= number <= most:
        invalid(field, f"must be {least:,} to {most:,}")
    return number


def amendable(number: int, name: str, path: str) -> int:
    """A number of the constitution that can be amended, within its bounds."""
    least, most = AMENDABLE[name]
    return whole_number(number, least, most, f"{path}.{name}")


def version(number: int, field: str) -> int:
    """A version of the rules or of the settlement. Whether this program has it is not said here."""
    return whole_number(number, 1, VERSION_MAX, field)


def instant(timestamp: Timestamp, field: str) -> Instant:
    """A time from 1970 to 2099, cut to the microsecond."""
    seconds, nanos = timestamp.seconds, timestamp.nanos
    if not (0 < seconds < _SECONDS_MAX and 0 <= nanos < 1_000_000_000):
        invalid(field, "must be a time between 1970 and 2100")
    return Instant(seconds * MICROSECONDS_PER_SECOND + nanos // NANOS_PER_MICROSECOND)


def unit(text: str, field: str) -> str:
    """3 to 8 capital letters."""
    if not _UNIT.fullmatch(text):
        invalid(field, "must be 3 to 8 capital letters, such as PTS")
    return text


def currency(text: str, field: str) -> str:
    """The form of an ISO 4217 code."""
    if not _CURRENCY.fullmatch(text):
        invalid(field, "must be an ISO 4217 code of three capital letters, such as EUR")
    return text


def time_zone(text: str, field: str) -> str:
    """The form of an IANA time zone's name with its area, or UTC.

    Whether there is such a zone is not asked: it would depend on a machine's data.
    """
    if not _TIME_ZONE.fullmatch(text):
        invalid(field, "must be an IANA time zone, such as Europe/Berlin")
    return text


def minute(timestamp: Timestamp, field: str) -> Instant:
    """A whole minute from 1970 to 2099."""
    if timestamp.seconds % 60 or timestamp.nanos:
        invalid(field, "must be a whole minute")
    return instant(timestamp, field)


def offset_minutes(number: int, field: str) -> int:
    """By how much clocks are ahead of UTC."""
    return whole_number(number, OFFSET_MINUTES_MIN, OFFSET_MINUTES_MAX, field)


def window(text: str, field: str) -> WindowId:
    """YYYY-MM."""
    if not _WINDOW.fullmatch(text):
        invalid(field, "must be a month as YYYY-MM")
    return WindowId(text)


def date(text: str, field: str) -> datetime.date:
    """YYYY-MM-DD of a day that exists."""
    if _DATE.fullmatch(text):
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            pass
    invalid(field, "must be a day as YYYY-MM-DD")


def first_of_month(text: str, field: str) -> datetime.date:
    """The first day of a month as ``YYYY-MM-DD``."""
    day = date(text, field)
    if day.day != 1:
        invalid(field, "must be the first day of a month")
    return day


def price(text: str, field: str) -> Decimal:
    """Major units a point: 0 to 1,000,000 with at most 8 decimals, exactly as written."""
    if not _PRICE.fullmatch(text) or Decimal(text) > PRICE_MAX:
        invalid(field, "must be a price of 0 to 1000000 in major units with at most 8 decimals, such as 0.0100")
    return Decimal(text)


def legal_name(text: str, field: str) -> str:
    """1 to 80 printable characters without surrounding blanks."""
    if not 1 <= len(text) <= 80 or not text.isprintable() or text != text.strip():
        invalid(field, "must be 1 to 80 printable characters without blanks around them")
    return text


def bank_reference(text: str, field: str) -> str:
    """1 to 35 letters, digits and hyphens: the length of an ISO 20022 end-to-end identification."""
    if not _BANK_REFERENCE.fullmatch(text):
        invalid(field, "must be 1 to 35 of A-Z, a-z, 0-9 and hyphens")
    return text


def log_id(value: bytes, field: str) -> bytes:
    """The id of a log, or nothing: whether it is the right one, and whether there must be one, is a rule."""
    return exact_bytes(value, LOG_ID_BYTES, field) if value else value


def exact_bytes(value: bytes, length: int, field: str) -> bytes:
    """So many bytes."""
    if len(value) != length:
        invalid(field, f"must be {length} bytes")
    return value
