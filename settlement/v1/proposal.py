"""The proposal: what finance signs so that a settlement's statements and payments stand in the log."""

from __future__ import annotations

from clearing.model import ProposeSettlement
from settlement.v1.statements import Settlement


def proposal_of(settlement: Settlement) -> ProposeSettlement:
    """The digests of all statements in JSON, merchants by identifier, and the payments by payer and payee."""
    return ProposeSettlement(
        window=settlement.period.window,
        alliance_statement_digest=settlement.alliance_digest,
        statement_digests=tuple(settlement.merchant_digests.items()),
        payments=settlement.alliance.payments,
    )
