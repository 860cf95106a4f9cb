"""The members of the alliance: admitting and listing them."""

from __future__ import annotations

from dataclasses import dataclass

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Unsigned
from clearing.model import MerchantId, StoreId
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import AdmitMerchant, Instruction
from clearing.v1.operations_pb2 import ListMerchantsRequest


@dataclass(frozen=True, slots=True)
class Member:
    """A merchant of the alliance."""

    merchant: MerchantId
    legal_name: str
    """Of the entity that settles."""
    stores: tuple[StoreId, ...]
    """By identifier."""


def admission(merchant: str, legal_name: str) -> Unsigned:
    """Make a merchant a member."""
    return Unsigned(
        Instruction(admit_merchant=AdmitMerchant(merchant=merchant, legal_name=legal_name)), ("admit", merchant)
    )


def list_members(connection: GatewayConnection, key: PrivateKey) -> list[Member]:
    """All members, by identifier. Raises ``GatewayError``."""
    answer = connection.call(connection.operations.ListMerchants, ListMerchantsRequest(), key)
    return [
        Member(MerchantId(each.merchant), each.legal_name, tuple(map(StoreId, each.stores)))
        for each in answer.merchants
    ]
