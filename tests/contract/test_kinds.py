"""The kinds of transaction are one enumeration: whatever else names them names the same."""

from __future__ import annotations

from typing import get_args

from clearing.contract.presentment import DECODERS
from clearing.model import KIND_OF, TransactionDetails, TransactionKind
from clearing.v1 import presentment_pb2

IN_CONTRACT = {
    field.name: field.message_type.name
    for field in presentment_pb2.Transaction.DESCRIPTOR.oneofs_by_name["kind"].fields
    if field.message_type is not None
}


def test_every_kind_has_its_details_its_decoder_and_its_field_of_the_contract() -> None:
    assert {kind.name.lower() for kind in TransactionKind} == set(IN_CONTRACT) == set(DECODERS)
    assert set(KIND_OF) == set(get_args(TransactionDetails))
    assert {kind.name.lower(): details.__name__ for details, kind in KIND_OF.items()} == IN_CONTRACT
