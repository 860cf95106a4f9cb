"""The proposal: what finance signs so that a settlement's statements and payments stand in the log."""

from __future__ import annotations

from clearing.model import ProposeSettlement
from settlement.v1.month_end import Settlement
from settlement.v1.report_json import alliance_json, merchant_json, statement_digest


def proposal_of(settlement: Settlement) -> ProposeSettlement:
    """The digests of all statements in JSON, merchants by identifier, and the payments by payer and payee."""
    return ProposeSettlement(
        window=settlement.period.window,
        alliance_statement_digest=statement_digest(alliance_json(settlement)),
        statement_digests=tuple(
            (statement.merchant, statement_digest(merchant_json(statement))) for statement in settlement.merchants
        ),
        payments=settlement.alliance.payments,
    )
