"""Prices of points: setting and listing them."""

from __future__ import annotations

from dataclasses import dataclass

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Unsigned
from clearing.contract.decoding import content_digest
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import Instruction, SetTerms
from clearing.v1.operations_pb2 import ListTermsRequest


@dataclass(frozen=True, slots=True)
class Terms:
    """Prices from a day on. Prices are decimal numbers of the currency's major unit a point, as they are logged."""

    merchant: str
    """Whose they are; of a pair, the issuer. Empty: the alliance's."""
    counterparty: str
    """Of a pair, the redeemer; else empty."""
    effective_from: str
    """Their first day, as YYYY-MM-DD; empty: from the founding on."""
    issuance_price: str
    """What an issuer pays; empty: as without these terms."""
    redemption_price: str
    """What a redeemer gets."""


def setting(terms: Terms) -> Unsigned:
    """Have these prices hold from their day on."""
    action = SetTerms(
        merchant=terms.merchant,
        counterparty=terms.counterparty,
        effective_from=terms.effective_from,
        issuance_price=terms.issuance_price,
        redemption_price=terms.redemption_price,
    )
    digest = content_digest(action).hex()[:12]
    return Unsigned(Instruction(set_terms=action), ("terms", terms.effective_from, digest, scope_of(terms)))


def scope_of(terms: Terms) -> str:
    """Whose prices they are, in one word."""
    return "-".join(part for part in (terms.merchant, terms.counterparty) if part) or "alliance"


def list_terms(connection: GatewayConnection, key: PrivateKey) -> list[Terms]:
    """All prices by whose they are and their dates; the alliance's founding prices stand first.

    Raises ``GatewayError``.
    """
    founding = connection.constitution
    dated = connection.call(connection.operations.ListTerms, ListTermsRequest(), key).terms
    return [
        Terms("", "", "", founding.issuance_price, founding.redemption_price),
        *(
            Terms(each.merchant, each.counterparty, each.effective_from, each.issuance_price, each.redemption_price)
            for each in dated
        ),
    ]
