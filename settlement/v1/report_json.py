"""Statements as JSON: the form whose SHA-256 goes into the log.

The bytes are canonical, so that equal statements have equal digests: keys sorted, nothing between the tokens, strings
as RFC 8785 writes them, UTF-8, one newline at the end. Points and whole minor units are integers, written in full;
money in major units is text with all decimals of the currency, exact amounts and remainders are text with as many as
they need. No number is a floating-point one. The alliance's statement contains the digests of all merchants'
statements, so whoever approves the one approves all.

Most of what a merchant's statement shows stands in two others as well: its counterparty's and the alliance's. Where all
are written together, each obligation is turned into text once (``StatementWriter``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from clearing.model import MerchantId, Payment, SettlementMethod
from settlement.v1.money import amount_text, decimal_text, major_text
from settlement.v1.netting import BilateralNet
from settlement.v1.obligations import Obligation, PricedPoints
from settlement.v1.points import IssuerPoints, OutstandingPoints, Redemption
from settlement.v1.statements import AllianceStatement, MerchantStatement, Period, Position, Settlement

JsonObject = dict[str, Any]
_Value = TypeVar("_Value")

_METHOD_NAMES = {SettlementMethod.ISSUER_PAYS: "issuer-pays", SettlementMethod.POOL: "pool"}

_MONTH_CHARACTERS = len("2026-01")

_text_of = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class StatementDigests(NamedTuple):
    """SHA-256 of the statements of one settlement."""

    alliance: bytes
    merchants: Mapping[MerchantId, bytes]


def merchant_json(statement: MerchantStatement) -> bytes:
    """One merchant's statement."""
    return StatementWriter(statement.period).merchant(statement)


def alliance_json(settlement: Settlement) -> bytes:
    """The alliance's statement, with the digests of all merchants' statements."""
    return StatementWriter(settlement.period).alliance(settlement.alliance, settlement.merchant_digests)


def statement_digest(statement_json: bytes) -> bytes:
    """What the log holds of a statement: SHA-256 of its JSON form."""
    return sha256(statement_json).digest()


def statement_digests(alliance: AllianceStatement, merchants: Iterable[MerchantStatement]) -> StatementDigests:
    """The digests of all statements; what several of them show is written once."""
    writer = StatementWriter(alliance.period)
    of_merchants = {each.merchant: statement_digest(writer.merchant(each)) for each in merchants}
    return StatementDigests(statement_digest(writer.alliance(alliance, of_merchants)), of_merchants)


class StatementWriter:
    """Writes statements of one settlement, and remembers the text of what stands in more than one of them."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._texts: dict[int, tuple[object, str]] = {}
        """By the identity of a value: the value, so that it stays the only one of this identity, and its text."""

    def merchant(self, statement: MerchantStatement) -> bytes:
        """One merchant's statement."""
        return _canonical(
            {
                **self._head("merchant-statement"),
                "merchant": _text_of({"id": statement.merchant, "legal_name": statement.legal_name}),
                "points": self._once(_points, statement.points),
                "redeemed_from_me": self._all(_redemption, statement.redeemed_from_me),
                "redeemed_at_me": self._all(_redemption, statement.redeemed_at_me),
                "obligations": self._all(_obligation, statement.obligations),
                "bilateral_nets": self._all(_bilateral, statement.bilateral),
                "position": self._once(_position, statement.position),
                "payments": self._all(_payment, statement.payments),
            }
        )

    def alliance(self, statement: AllianceStatement, merchant_digests: Mapping[MerchantId, bytes]) -> bytes:
        """The alliance's statement."""
        return _canonical(
            {
                **self._head("alliance-statement"),
                "points": self._all(_points, statement.points),
                "redemptions": self._all(_redemption, statement.redemptions),
                "obligations": self._all(_obligation, statement.obligations),
                "bilateral_nets": self._all(_bilateral, statement.bilateral),
                "positions": self._all(_position, statement.positions),
                "payments": self._all(_payment, statement.payments),
                "totals": self._once(_totals, statement),
                "merchant_statement_sha256": _text_of({who: digest.hex() for who, digest in merchant_digests.items()}),
            }
        )

    def _head(self, kind: str) -> dict[str, str]:
        return {name: _text_of(value) for name, value in _head(kind, self._period).items()}

    def _all(self, json_of: Callable[[_Value, int], JsonObject], values: Iterable[_Value]) -> str:
        return f"[{','.join([self._once(json_of, value) for value in values])}]"

    def _once(self, json_of: Callable[[_Value, int], JsonObject], value: _Value) -> str:
        written = self._texts.get(id(value))
        if written is None:
            written = self._texts[id(value)] = value, _text_of(json_of(value, self._period.currency_decimals))
        return written[1]


def _canonical(members: Mapping[str, str]) -> bytes:
    """An object whose members are text already."""
    return ("{" + ",".join(f"{_text_of(name)}:{members[name]}" for name in sorted(members)) + "}\n").encode()


def _head(kind: str, period: Period) -> JsonObject:
    return {
        "kind": kind,
        "settlement_version": period.settlement_version,
        "alliance": {
            "origin": period.origin,
            "unit": period.unit,
            "currency": period.currency,
            "currency_decimals": period.currency_decimals,
            "settlement_method": _METHOD_NAMES[period.method],
        },
        "window": {
            "id": period.window,
            "first_day": period.first_day.isoformat(),
            "last_day": period.last_day.isoformat(),
            "time_zone": period.time_zone,
        },
        "log": {
            "first_index": period.first_index,
            "end_index": period.end_index,
            "size": period.log_size,
            "root_sha256": period.log_root.hex(),
        },
    }


def _amount(name: str, amount_minor: int, decimals: int) -> JsonObject:
    return {name: amount_text(amount_minor, decimals), f"{name}_minor": amount_minor}


def _exact(name: str, exact_minor: Decimal, decimals: int) -> JsonObject:
    minor_text = decimal_text(exact_minor)
    return {name: major_text(minor_text, decimals), f"{name}_minor": minor_text}


def _outstanding(points: OutstandingPoints) -> JsonObject:
    return {
        "on_cards": points.on_cards,
        "owed_by_cards": points.owed_by_cards,
        "outstanding": points.outstanding,
    }


def _totals(statement: AllianceStatement, decimals: int) -> JsonObject:
    return {
        **_amount("obligations", statement.obligations_minor, decimals),
        **_exact("exact", statement.exact_minor, decimals),
        **_exact("remainder", statement.remainder_minor, decimals),
        **_amount("payments", statement.payments_minor, decimals),
        **_amount("positions_sum", statement.positions_sum_minor, decimals),
    }


def _points(points: IssuerPoints, decimals: int) -> JsonObject:
    return {
        "issuer": points.issuer,
        "opening": _outstanding(points.opening),
        "issued": {
            "net": points.issued,
            "earned": points.earned,
            "earned_to_cards": points.earned_to_cards,
            "earned_to_own_debt": points.earned_to_own_debt,
            "earned_to_other_debt": points.earned_to_other_debt,
            "taken_back": points.earns_taken_back,
            "taken_back_from_cards": points.taken_back_from_cards,
            "taken_back_as_debt": points.taken_back_as_debt,
            "taken_back_after_expiry": points.taken_back_after_expiry,
            "debt_repaid_elsewhere": points.debt_repaid_elsewhere,
        },
        "redeemed": {
            "net": points.redeemed,
            "redeemed": points.redeemed_gross,
            "burned": points.burned,
            "earned_to_other_debt": points.earned_to_other_debt,
            "refunded": points.redemptions_refunded,
        },
        "expired": {
            "net": points.expired,
            "expired": points.expired_gross,
            "reversed": points.taken_back_after_expiry,
        },
        "closing": _outstanding(points.closing),
    }


def _redemption(redemption: Redemption, decimals: int) -> JsonObject:
    return {
        "issuer": redemption.issuer,
        "redeemer": redemption.redeemer,
        "points_redeemed": redemption.points_redeemed,
        "points_refunded": redemption.points_refunded,
        "points": redemption.points,
    }


def _obligation(obligation: Obligation, decimals: int) -> JsonObject:
    return {
        "debtor": obligation.debtor,
        "creditor": obligation.creditor,
        "points": obligation.points,
        **_exact("exact", obligation.exact_minor, decimals),
        **_amount("amount", obligation.amount_minor, decimals),
        **_exact("remainder", obligation.remainder_minor, decimals),
        "lines": [_line(line, decimals) for line in obligation.lines],
    }


def _line(line: PricedPoints, decimals: int) -> JsonObject:
    return {
        "issuer": line.issuer,
        "redeemer": line.redeemer,
        "issued_from": line.issued_from.isoformat()[:_MONTH_CHARACTERS],
        "issued_to": line.issued_to.isoformat()[:_MONTH_CHARACTERS],
        "price": decimal_text(line.price),
        "points_counted": line.points_counted,
        "points_taken_back": line.points_taken_back,
        "points": line.points,
        **_exact("exact", line.exact_minor, decimals),
    }


def _bilateral(net: BilateralNet, decimals: int) -> JsonObject:
    return {
        "payer": net.payer,
        "payee": net.payee,
        **_amount("owed", net.owed_minor, decimals),
        **_amount("owed_back", net.owed_back_minor, decimals),
        **_amount("amount", net.amount_minor, decimals),
    }


def _position(position: Position, decimals: int) -> JsonObject:
    return {
        "participant": position.participant,
        **_amount("payable", position.payable_minor, decimals),
        **_amount("receivable", position.receivable_minor, decimals),
        **_amount("net", position.net_minor, decimals),
    }


def _payment(payment: Payment, decimals: int) -> JsonObject:
    return {"payer": payment.payer, "payee": payment.payee, **_amount("amount", payment.amount_minor, decimals)}
