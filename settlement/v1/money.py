"""Exact money: decimals that are never rounded by accident, and their texts.

Amounts that are paid are whole minor units (cents). What they were rounded from stays beside them as an exact
decimal, also in minor units. No floats.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext

# 10^18 points at a price of 14 digits, summed over a billion lines, are 41 digits. What does not fit raises Inexact.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])


def exact_arithmetic() -> AbstractContextManager[Context]:
    """Within it, a sum or product of decimals is exact or raises ``decimal.Inexact``."""
    return localcontext(_EXACT)


def minor_from_major(amount: Decimal, decimals: int) -> Decimal:
    """Major units (euros) as minor units (cents), exactly."""
    return amount.scaleb(decimals, context=_EXACT.copy())


def major_from_minor(amount: Decimal | int, decimals: int) -> Decimal:
    """Minor units (cents) as major units (euros), exactly."""
    return Decimal(amount).scaleb(-decimals, context=_EXACT.copy())


def round_half_even(exact_minor: Decimal) -> int:
    """The nearest whole minor unit; of two equally near the even one (IEEE 754 roundTiesToEven)."""
    return int(exact_minor.to_integral_value(rounding=ROUND_HALF_EVEN))


def amount_text(amount_minor: int, decimals: int) -> str:
    """Whole minor units as major units with all decimals of the currency, such as ``-0.05`` for -5 cents."""
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).zfill(decimals + 1)
    return f"{sign}{digits}" if decimals == 0 else f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def exact_text(exact_minor: Decimal, decimals: int) -> str:
    """Exact minor units as major units: at least the currency's decimals, more only where they are not zero."""
    return major_text(decimal_text(exact_minor), decimals)


def major_text(minor_text: str, decimals: int) -> str:
    """The same of minor units that are written already, as by ``decimal_text``."""
    whole, _, fraction = minor_text.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    digits = digits.zfill(decimals + 1)
    major, minor = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    return f"{sign}{major}.{minor}{fraction}" if minor or fraction else f"{sign}{major}"


def decimal_text(number: Decimal) -> str:
    """A decimal without exponent, trailing zeros and negative zero: one text for one value."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
