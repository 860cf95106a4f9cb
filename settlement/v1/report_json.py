"""Statements as JSON: the form whose SHA-256 goes into the log.

The bytes are canonical: keys sorted, two spaces of indentation, UTF-8, one newline at the end, so that equal statements
have equal digests. Points and whole minor units are integers; money in major units is text with all decimals of the
currency, exact amounts and remainders are text with as many as they need. No number is a floating-point one.
The alliance's statement contains the digests of all merchants' statements, so whoever approves the one approves all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from hashlib import sha256
from typing import Any

from clearing.model import Payment, SettlementMethod
from settlement.v1.money import amount_text, decimal_text, exact_text
from settlement.v1.month_end import Settlement
from settlement.v1.netting import BilateralNet
from settlement.v1.obligations import Obligation, PricedPoints
from settlement.v1.points import IssuerPoints, OutstandingPoints, Redemption
from settlement.v1.statements import MerchantStatement, Period, Position

FORMAT_VERSION = 1

JsonObject = dict[str, Any]

_METHOD_NAMES = {SettlementMethod.ISSUER_PAYS: "issuer-pays", SettlementMethod.POOL: "pool"}


def merchant_json(statement: MerchantStatement) -> bytes:
    """One merchant's statement."""
    decimals = statement.period.currency_decimals
    return _canonical(
        {
            **_head("merchant-statement", statement.period),
            "merchant": {"id": statement.merchant, "legal_name": statement.legal_name},
            "points": _points(statement.points),
            "redeemed_from_me": [_redemption(each) for each in statement.redeemed_from_me],
            "redeemed_at_me": [_redemption(each) for each in statement.redeemed_at_me],
            "obligations": [_obligation(each, decimals) for each in statement.obligations],
            "bilateral_nets": [_bilateral(each, decimals) for each in statement.bilateral],
            "position": _position(statement.position, decimals),
            "payments": _payments(statement.payments, decimals),
        }
    )


def alliance_json(settlement: Settlement) -> bytes:
    """The alliance's statement, with the digests of all merchants' statements."""
    statement = settlement.alliance
    decimals = statement.period.currency_decimals
    return _canonical(
        {
            **_head("alliance-statement", statement.period),
            "points": [_points(each) for each in statement.points],
            "redemptions": [_redemption(each) for each in statement.redemptions],
            "obligations": [_obligation(each, decimals) for each in statement.obligations],
            "bilateral_nets": [_bilateral(each, decimals) for each in statement.bilateral],
            "positions": [_position(each, decimals) for each in statement.positions],
            "payments": _payments(statement.payments, decimals),
            "totals": {
                **_amount("obligations", statement.obligations_minor, decimals),
                **_exact("exact", statement.exact_minor, decimals),
                **_exact("remainder", statement.remainder_minor, decimals),
                **_amount("payments", statement.payments_minor, decimals),
                **_amount("positions_sum", statement.positions_sum_minor, decimals),
            },
            "merchant_statement_sha256": {
                each.merchant: statement_digest(merchant_json(each)).hex() for each in settlement.merchants
            },
        }
    )


def statement_digest(statement_json: bytes) -> bytes:
    """What the log holds of a statement: SHA-256 of its JSON form."""
    return sha256(statement_json).digest()


def _canonical(statement: JsonObject) -> bytes:
    return (json.dumps(statement, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _head(kind: str, period: Period) -> JsonObject:
    return {
        "kind": kind,
        "format_version": FORMAT_VERSION,
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
    return {name: exact_text(exact_minor, decimals), f"{name}_minor": decimal_text(exact_minor)}


def _outstanding(points: OutstandingPoints) -> JsonObject:
    return {
        "on_cards": points.on_cards,
        "owed_by_cards": points.owed_by_cards,
        "outstanding": points.outstanding,
    }


def _points(points: IssuerPoints) -> JsonObject:
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


def _redemption(redemption: Redemption) -> JsonObject:
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
        "first_day": line.first_day.isoformat(),
        "last_day": line.last_day.isoformat(),
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


def _payments(payments: Iterable[Payment], decimals: int) -> list[JsonObject]:
    return [
        {"payer": each.payer, "payee": each.payee, **_amount("amount", each.amount_minor, decimals)}
        for each in payments
    ]
