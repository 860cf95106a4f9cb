"""An instruction in plain words, for whoever is to sign it. Nothing of it is left out."""

from __future__ import annotations

from back_office.cli.console import time_text
from clearing.contract.instruction import decode_instruction
from clearing.key_id import key_id_of
from clearing.model import (
    Action,
    AdmitMerchant,
    ApproveSettlement,
    CloseWindow,
    CreateAlliance,
    ExpireLots,
    OpenStore,
    ProposeSettlement,
    RecordPayment,
    RegisterKey,
    RevokeKey,
    SetTerms,
)


def words(payload: bytes) -> list[tuple[str, str]]:
    """Name and value of everything in the instruction, what it does first. Raises ``Rejection`` if it is malformed."""
    instruction = decode_instruction(payload)
    return [
        *_action(instruction.action),
        ("alliance", instruction.origin),
        ("signed at", time_text(instruction.issued_at)),
        ("reference", instruction.reference),
    ]


def _action(action: Action) -> list[tuple[str, str]]:
    match action:
        case CreateAlliance():
            return _founding(action)
        case AdmitMerchant():
            return [("admit the merchant", action.merchant), ("legal name", action.legal_name)]
        case OpenStore():
            return [("open the store", action.store), ("of the merchant", action.merchant)]
        case RegisterKey():
            return _registration(action)
        case RevokeKey():
            return [
                ("revoke the key", action.key_id),
                ("effective from", time_text(action.effective_at) or "the entry that revokes it"),
                ("compromised since", time_text(action.compromised_since) or "not suspected"),
            ]
        case SetTerms():
            return _terms(action)
        case CloseWindow():
            return [("close the window", action.window)]
        case ProposeSettlement():
            return [("propose the settlement of", action.window), *_proposal(action)]
        case ApproveSettlement():
            return [("approve the settlement of", action.proposal.window), *_proposal(action.proposal)]
        case RecordPayment():
            payment = action.payment
            return [
                ("record a payment of", action.window),
                ("payment", f"{payment.payer} paid {payment.payee} {payment.amount_minor:,} minor units"),
                ("paid on", action.paid_on.isoformat()),
                ("bank reference", action.bank_reference),
            ]
        case ExpireLots():
            return [("book the expiry of past lots on", ", ".join(action.cards))]


def _founding(action: CreateAlliance) -> list[tuple[str, str]]:
    return [
        ("found the alliance, counting in", action.unit),
        ("currency", f"{action.currency} with {action.currency_decimals} decimals"),
        ("time zone", action.time_zone),
        ("settlement method", action.settlement_method.name.lower()),
        ("clock", action.clock.name.lower()),
        ("log verifier", action.log_verifier),
        ("four eyes", "yes" if action.four_eyes else "no"),
        ("lots live", f"{action.lot_lifetime_months} months"),
        ("transactions may be presented", f"up to {action.late_presentment_days} days late"),
        ("issuance price", f"{action.issuance_price:f} a point"),
        ("redemption price", f"{action.redemption_price:f} a point"),
        ("rules version", str(action.rules_version)),
        *(line for key in action.operator_keys for line in _registration(key)),
    ]


def _registration(action: RegisterKey) -> list[tuple[str, str]]:
    return [
        ("register the key", key_id_of(action.public_key)),
        ("public key", action.public_key.hex()),
        ("role", action.role.name.lower()),
        *([("of the merchant", str(action.merchant))] if action.merchant is not None else []),
        ("held by", action.holder),
        ("valid from", time_text(action.valid_from) or "the entry that registers it"),
        ("valid until", time_text(action.valid_until) or "it is revoked"),
    ]


def _terms(action: SetTerms) -> list[tuple[str, str]]:
    if action.counterparty is not None:
        whose = f"points of {action.merchant} redeemed at {action.counterparty}"
    else:
        whose = action.merchant or "the alliance"
    issuance = [("issuance price", f"{action.issuance_price:f} a point")] if action.issuance_price is not None else []
    return [
        ("set the prices of", whose),
        ("from", action.effective_from.isoformat()),
        *issuance,
        ("redemption price", f"{action.redemption_price:f} a point"),
    ]


def _proposal(proposal: ProposeSettlement) -> list[tuple[str, str]]:
    return [
        ("SHA-256 of the alliance's statement", proposal.alliance_statement_digest.hex()),
        *((f"SHA-256 of {merchant}'s statement", digest.hex()) for merchant, digest in proposal.statement_digests),
        *(
            ("payment", f"{each.payer} pays {each.payee} {each.amount_minor:,} minor units")
            for each in proposal.payments
        ),
    ]
