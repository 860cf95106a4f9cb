"""The proposal: what finance signs so that a settlement's statements and payments stand in the log.

It holds roots only (``clearing.log.settlement_trees``); what is shown to a member beside it are the proofs of its own
statement and payments.
"""

from __future__ import annotations

from dataclasses import dataclass

from clearing.log.merkle import inclusion_paths, leaf_hash, root
from clearing.log.settlement_trees import payment_leaf, payment_salt, statement_leaf
from clearing.model import POOL, MerchantId, Payment, ProposeSettlement
from settlement.v1.statements import Settlement


@dataclass(frozen=True, slots=True)
class ProvenPayment:
    """A payment, and how it is shown to be among the settlement's payments."""

    payment: Payment
    index: int
    salt: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProvenStatement:
    """The digest of a member's statement, and how it is shown to be among the settlement's statements."""

    merchant: MerchantId
    digest: bytes
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SettlementProofs:
    """Everything that the roots of a proposal stand for."""

    statements: tuple[ProvenStatement, ...]
    """By merchant."""
    payments: tuple[ProvenPayment, ...]
    """By payer and payee."""

    def of(self, merchant: MerchantId) -> SettlementProofs:
        """What concerns one member."""
        return SettlementProofs(
            tuple(each for each in self.statements if each.merchant == merchant),
            tuple(each for each in self.payments if merchant in (each.payment.payer, each.payment.payee)),
        )


def proposal_of(settlement: Settlement) -> ProposeSettlement:
    """What the settlement's proposal says."""
    payments = settlement.alliance.payments
    return ProposeSettlement(
        window=settlement.period.window,
        settlement_version=settlement.period.settlement_version,
        alliance_statement_digest=settlement.alliance_digest,
        statements=len(settlement.merchant_digests),
        statements_root=root(_statement_hashes(settlement)),
        payments=len(payments),
        payments_root=root(_payment_hashes(settlement)),
        payments_minor=settlement.alliance.payments_minor,
    )


def proofs_of(settlement: Settlement) -> SettlementProofs:
    """The paths of all statements and payments to the roots of the settlement's proposal."""
    statement_paths = inclusion_paths(_statement_hashes(settlement))
    payment_paths = inclusion_paths(_payment_hashes(settlement))
    return SettlementProofs(
        tuple(
            ProvenStatement(merchant, digest, index, tuple(path))
            for index, ((merchant, digest), path) in enumerate(
                zip(settlement.merchant_digests.items(), statement_paths, strict=True)
            )
        ),
        tuple(
            ProvenPayment(payment, index, _salt(settlement, payment, index), tuple(path))
            for index, (payment, path) in enumerate(zip(settlement.alliance.payments, payment_paths, strict=True))
        ),
    )


def _statement_hashes(settlement: Settlement) -> list[bytes]:
    return [leaf_hash(statement_leaf(merchant, digest)) for merchant, digest in settlement.merchant_digests.items()]


def _payment_hashes(settlement: Settlement) -> list[bytes]:
    return [
        leaf_hash(payment_leaf(each.payer, each.payee, each.amount_minor, _salt(settlement, each, index)))
        for index, each in enumerate(settlement.alliance.payments)
    ]


def _salt(settlement: Settlement, payment: Payment, index: int) -> bytes:
    """From a statement that is not everybody's: the payer's, and as the pool has none the payee's where it pays."""
    owner = payment.payee if payment.payer == POOL else payment.payer
    return payment_salt(settlement.merchant_digests[owner], index)
