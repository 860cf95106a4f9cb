"""An instruction in plain words, for whoever is to sign it. Nothing of it is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from back_office.client.machine_offsets import offset_text
from back_office.client.moments import time_text
from clearing.contract.instruction import decode_instruction
from clearing.key_id import key_id_of
from clearing.model import (
    Action,
    AdmitMerchant,
    AdoptRules,
    AmendConstitution,
    ApproveSettlement,
    CloseWindow,
    CreateAlliance,
    ExpireLots,
    OffsetChange,
    OpenStore,
    ProposeSettlement,
    RecordPayment,
    RegisterKey,
    RevokeKey,
    SetOffsets,
    SetTerms,
)

Lines = list[tuple[str, str]]
"""Names and values."""


def words(payload: bytes) -> Lines:
    """Name and value of everything in the instruction, what it does first. Raises ``Rejection`` if it is malformed."""
    instruction = decode_instruction(payload)
    return [
        *WORDS[type(instruction.action)](instruction.action),
        ("alliance", instruction.origin),
        ("signed at", time_text(instruction.issued_at)),
        *([("counts until", time_text(instruction.expires_at))] if instruction.expires_at is not None else []),
        ("reference", instruction.reference),
        ("signed for", f"the merchant {instruction.merchant}" if instruction.merchant is not None else "the alliance"),
    ]


def _founding(action: CreateAlliance) -> Lines:
    return [
        ("found the alliance, counting in", action.unit),
        ("currency", f"{action.currency} with {action.currency_decimals} decimals"),
        ("time zone", action.time_zone),
        ("ahead of UTC", offset_text(action.zone_offsets.offset_minutes)),
        *_offset_changes(action.zone_offsets.changes),
        ("offsets known until", time_text(action.zone_offsets.known_until)),
        ("settlement method", action.settlement_method.name.lower()),
        ("clock", action.clock.name.lower()),
        ("log verifier", action.log_verifier),
        ("four eyes", "yes" if action.four_eyes else "no"),
        ("lots live", f"{action.lot_lifetime_months} months"),
        ("transactions may be presented", f"up to {action.late_presentment_days} days late"),
        ("amendments are told", f"{action.notice_days} days before"),
        ("issuance price", f"{action.issuance_price:f} a point"),
        ("redemption price", f"{action.redemption_price:f} a point"),
        ("rules version", str(action.rules_version)),
        ("settlement version", str(action.settlement_version)),
        *(line for key in action.operator_keys for line in _registration(key)),
    ]


def _registration(action: RegisterKey) -> Lines:
    return [
        ("register the key", key_id_of(action.public_key)),
        ("public key", action.public_key.hex()),
        ("role", action.role.name.lower().replace("_", " ")),
        *([("of the merchant", str(action.merchant))] if action.merchant is not None else []),
        ("held by", action.holder),
        ("valid from", time_text(action.valid_from) or "the entry that registers it"),
        ("valid until", time_text(action.valid_until) or "it is revoked"),
    ]


def _terms(action: SetTerms) -> Lines:
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


def _proposal(proposal: ProposeSettlement) -> Lines:
    return [
        ("settlement version", str(proposal.settlement_version)),
        ("SHA-256 of the alliance's statement", proposal.alliance_statement_digest.hex()),
        ("members' statements", f"{proposal.statements:,} under the root {proposal.statements_root.hex()}"),
        ("payments", f"{proposal.payments:,} under the root {proposal.payments_root.hex()}"),
        ("sum of the payments", f"{proposal.payments_minor:,} minor units"),
    ]


def _revocation(action: RevokeKey) -> Lines:
    return [
        ("revoke the key", action.key_id),
        ("effective from", time_text(action.effective_at) or "the entry that revokes it"),
        ("compromised since", time_text(action.compromised_since) or "not suspected"),
    ]


def _recorded_payment(action: RecordPayment) -> Lines:
    payment = action.payment
    return [
        ("record a payment of", action.window),
        ("payment", f"{payment.payer} paid {payment.payee} {payment.amount_minor:,} minor units"),
        ("paid on", action.paid_on.isoformat()),
        ("bank reference", action.bank_reference),
    ]


def _amendment(action: AmendConstitution) -> Lines:
    changes = {
        "transactions may be presented, days late": action.late_presentment_days,
        "months that lots live, earned from then on": action.lot_lifetime_months,
        "days of notice of later amendments": action.notice_days,
    }
    return [
        ("amend the constitution from", action.effective_from.isoformat()),
        *((name, str(number)) for name, number in changes.items() if number is not None),
    ]


def _correction(action: SetOffsets) -> Lines:
    return [
        ("set the time zone's offsets from", time_text(action.effective_from)),
        *_offset_changes(action.changes),
        ("offsets known until", time_text(action.known_until)),
    ]


def _offset_changes(changes: Sequence[OffsetChange]) -> Lines:
    return [("ahead of UTC from " + time_text(each.at), offset_text(each.offset_minutes)) for each in changes]


def _adoption(action: AdoptRules) -> Lines:
    return [
        ("adopt rules from the window", action.window),
        ("rules version", str(action.rules_version)),
        ("settlement version", str(action.settlement_version)),
    ]


WORDS: Final[Mapping[type[Action], Callable[[Any], Lines]]] = {
    CreateAlliance: _founding,
    AdmitMerchant: lambda action: [("admit the merchant", action.merchant), ("legal name", action.legal_name)],
    OpenStore: lambda action: [("open the store", action.store), ("of the merchant", action.merchant)],
    RegisterKey: _registration,
    RevokeKey: _revocation,
    SetTerms: _terms,
    CloseWindow: lambda action: [("close the window", action.window)],
    ProposeSettlement: lambda action: [("propose the settlement of", action.window), *_proposal(action)],
    ApproveSettlement: lambda action: [
        ("approve the settlement of", action.proposal.window),
        *_proposal(action.proposal),
    ],
    RecordPayment: _recorded_payment,
    AdoptRules: _adoption,
    SetOffsets: _correction,
    AmendConstitution: _amendment,
    ExpireLots: lambda action: [("book the expiry of past lots on", ", ".join(action.cards))],
}
"""For each action: what it does first, then all else that it says."""
