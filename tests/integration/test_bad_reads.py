"""Reads that are not allowed, or ask for what does not exist or cannot be meant."""

from __future__ import annotations

from typing import Any

from clearing.card_token import random_token
from clearing.signing.keys import PrivateKey
from clearing.v1.audit_pb2 import GetConsistencyProofRequest, GetInclusionProofRequest, ListEntriesRequest
from clearing.v1.merchant_gateway_pb2 import GetCardRequest, GetTransactionRequest, ListTransactionsRequest
from clearing.v1.operations_pb2 import ListPastLotsRequest, ListTermsRequest
from clearing.v1.settlement_pb2 import GetProposalRequest, GetSettlementRequest, GetStatementRequest
from tests.integration.bad_scene import (
    DENIED,
    INVALID,
    NOT_FOUND,
    UNAUTHENTICATED,
    CallOf,
    Says,
    Scene,
    Table,
    each_case,
)
from tests.integration.observation import Refusal, refusal


def card(scene: Scene, token: str, reader: PrivateKey) -> object:
    request = GetCardRequest(card_token=token)
    return scene.alliance.merchants.GetCard(request, metadata=scene.alliance.authorization(reader))


def transactions(scene: Scene, reader: PrivateKey | None = None, **fields: Any) -> object:
    request = ListTransactionsRequest(**({"merchant": "bakery"} | fields))
    metadata = scene.alliance.authorization(reader or scene.operator)
    return scene.alliance.merchants.ListTransactions(request, metadata=metadata)


def transaction(scene: Scene, reference: str) -> object:
    request = GetTransactionRequest(merchant="bakery", reference=reference)
    metadata = scene.alliance.authorization(scene.operator)
    return scene.alliance.merchants.GetTransaction(request, metadata=metadata)


def entries(scene: Scene, end_index: int, reader: PrivateKey) -> object:
    request = ListEntriesRequest(end_index=end_index)
    return list(scene.alliance.audit.ListEntries(request, metadata=scene.alliance.authorization(reader)))


def inclusion(scene: Scene, **fields: int) -> object:
    metadata = scene.alliance.authorization(scene.operator)
    return scene.alliance.audit.GetInclusionProof(GetInclusionProofRequest(**fields), metadata=metadata)


def consistency(scene: Scene, **fields: int) -> object:
    metadata = scene.alliance.authorization(scene.operator)
    return scene.alliance.audit.GetConsistencyProof(GetConsistencyProofRequest(**fields), metadata=metadata)


def terms(scene: Scene, reader: PrivateKey) -> object:
    return scene.alliance.operations.ListTerms(ListTermsRequest(), metadata=scene.alliance.authorization(reader))


def past_lots(scene: Scene, reader: PrivateKey) -> object:
    return scene.alliance.operations.ListPastLots(ListPastLotsRequest(), metadata=scene.alliance.authorization(reader))


def settlement(scene: Scene, reader: PrivateKey) -> object:
    request = GetSettlementRequest(window="2026-01")
    return scene.alliance.settlement.GetSettlement(request, metadata=scene.alliance.authorization(reader))


def statement(scene: Scene, reader: PrivateKey) -> object:
    request = GetStatementRequest(window="2026-01", merchant="bakery")
    return scene.alliance.settlement.GetStatement(request, metadata=scene.alliance.authorization(reader))


def proposal(scene: Scene, reader: PrivateKey) -> object:
    request = GetProposalRequest(window="2026-01")
    return scene.alliance.settlement.GetProposal(request, metadata=scene.alliance.authorization(reader))


READS: Table[CallOf] = {
    Says(UNAUTHENTICATED, "BAD_TOKEN"): {
        "none": lambda s: s.alliance.merchants.GetCard(GetCardRequest(card_token=s.card)),
        "no JWT": lambda s: s.alliance.merchants.GetCard(
            GetCardRequest(card_token=s.card), metadata=(("authorization", "Bearer x"),)
        ),
        "other scheme": lambda s: s.alliance.merchants.GetCard(
            GetCardRequest(card_token=s.card), metadata=(("authorization", "Basic eDp5"),)
        ),
    },
    Says(UNAUTHENTICATED, "UNKNOWN_KEY"): {"token": lambda s: card(s, s.card, s.stranger)},
    Says(UNAUTHENTICATED, "KEY_REVOKED"): {"token": lambda s: card(s, s.card, s.revoked)},
    Says(UNAUTHENTICATED, "KEY_EXPIRED"): {"token": lambda s: card(s, s.card, s.expired)},
    Says(INVALID, "MALFORMED_CARD_TOKEN", "card_token"): {"phone": lambda s: card(s, "+49 170 1234567", s.bakery)},
    Says(NOT_FOUND, "NOT_FOUND", "card_token"): {
        "unknown": lambda s: card(s, random_token(), s.bakery),
        "never presented by the office's merchant": lambda s: card(s, s.card, s.office),
    },
    Says(INVALID, "INVALID_FIELD", "merchant"): {
        "zero byte": lambda s: transactions(s, merchant="a\0b"),
        "none": lambda s: transactions(s, merchant=""),
    },
    Says(NOT_FOUND, "NOT_FOUND", "merchant"): {"another's": lambda s: transactions(s, s.bakery, merchant="cinema")},
    Says(INVALID, "INVALID_FIELD", "page_size"): {"negative": lambda s: transactions(s, page_size=-1)},
    Says(INVALID, "INVALID_FIELD", "page_token"): {
        "beyond 2^63": lambda s: transactions(s, page_token="99999999999999999999.1"),
        "no such position": lambda s: transactions(s, page_token="1.99999999999"),
        "other digits": lambda s: transactions(s, page_token="\u0661.\u0661"),
        "words": lambda s: transactions(s, page_token="next"),
    },
    Says(INVALID, "INVALID_FIELD", "window"): {"no month": lambda s: transactions(s, window="2026-1")},
    Says(NOT_FOUND, "NOT_FOUND", "reference"): {"unknown": lambda s: transaction(s, "nothing")},
    Says(INVALID, "INVALID_FIELD", "reference"): {"zero byte": lambda s: transaction(s, "a\0b")},
    Says(DENIED, "ROLE_NOT_ALLOWED"): {
        "entries for a merchant": lambda s: entries(s, 1, s.bakery),
        "entries for an office": lambda s: entries(s, 1, s.office),
        "entries for the desk": lambda s: entries(s, 1, s.service),
        "terms for the desk": lambda s: terms(s, s.service),
        "past lots for the desk": lambda s: past_lots(s, s.service),
        "a settlement for the desk": lambda s: settlement(s, s.service),
        "a statement for the desk": lambda s: statement(s, s.service),
        "a proposal for the desk": lambda s: proposal(s, s.service),
    },
    Says(INVALID, "INVALID_FIELD", "end_index"): {"beyond": lambda s: entries(s, 2**64 - 1, s.operator)},
    Says(INVALID, "INVALID_FIELD", "old_size"): {
        "zero": lambda s: consistency(s),
        "beyond": lambda s: consistency(s, old_size=5, new_size=4),
    },
    Says(INVALID, "INVALID_FIELD", "new_size"): {"beyond": lambda s: consistency(s, old_size=1, new_size=2**63)},
    Says(NOT_FOUND, "NOT_FOUND", "index"): {"beyond": lambda s: inclusion(s, index=2**63)},
    Says(INVALID, "INVALID_FIELD", "tree_size"): {"beyond": lambda s: inclusion(s, index=0, tree_size=2**63)},
}


@each_case(READS)
def test_a_bad_read_is_named(scene: Scene, says: Says, build: CallOf) -> None:
    heard = refusal(lambda: build(scene))
    assert heard == Refusal(says.code, says.reason, "clearing", says.field, "", False)
