"""The contract's enums and the code's say the same, and every reason has the gRPC code its comment promises."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from clearing.errors import ErrorReason, Rejection
from clearing.model import Channel, ClockKind, Outcome, Role, SettlementMethod, TransactionKind
from clearing.rules.directory import WindowStatus
from clearing.v1 import entry_pb2, error_pb2, instruction_pb2, presentment_pb2, settlement_pb2
from merchant_gateway.server.errors import DOMAIN, STATUS_CODES, TEXT_BYTES_MAX, status_of

ERROR_PROTO = Path(__file__).parents[2] / "proto" / "clearing" / "v1" / "error.proto"

ENUMS: tuple[tuple[type[IntEnum], EnumDescriptor], ...] = (
    (ErrorReason, error_pb2.ErrorReason.DESCRIPTOR),
    (Outcome, entry_pb2.Outcome.DESCRIPTOR),
    (Channel, presentment_pb2.Channel.DESCRIPTOR),
    (TransactionKind, presentment_pb2.TransactionKind.DESCRIPTOR),
    (Role, instruction_pb2.Role.DESCRIPTOR),
    (ClockKind, instruction_pb2.Clock.DESCRIPTOR),
    (SettlementMethod, instruction_pb2.SettlementMethod.DESCRIPTOR),
    (WindowStatus, settlement_pb2.WindowStatus.DESCRIPTOR),
)


@pytest.mark.parametrize(("ours", "contract"), ENUMS, ids=[contract.name for _, contract in ENUMS])
def test_an_enum_has_the_contracts_names_and_numbers(ours: type[IntEnum], contract: EnumDescriptor) -> None:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", contract.name).upper() + "_"
    in_contract = {value.name.removeprefix(prefix): value.number for value in contract.values}
    assert in_contract.pop("UNSPECIFIED") == 0
    assert {member.name: int(member) for member in ours} == in_contract


def test_every_reason_has_the_code_that_its_comment_ends_with() -> None:
    promised = {
        match["name"]: match["code"]
        for match in re.finditer(
            r"//[^\n]*?\b(?P<code>[A-Z_]+)\.\n\s*ERROR_REASON_(?P<name>[A-Z_]+) = [1-9]", ERROR_PROTO.read_text()
        )
    }
    assert {reason.name: Code.Name(code) for reason, code in STATUS_CODES.items()} == promised
    assert set(STATUS_CODES) == set(ErrorReason)


@pytest.mark.parametrize("reason", ErrorReason)
def test_only_what_can_help_to_send_again_says_when(reason: ErrorReason) -> None:
    status = status_of(Rejection(reason, "why", field="a.b", envelope_index=3))
    details = {detail.TypeName() for detail in status.details}
    is_retriable = status.code in (Code.Value("UNAVAILABLE"), Code.Value("RESOURCE_EXHAUSTED"))
    assert (RetryInfo.DESCRIPTOR.full_name in details) == is_retriable
    info, bad_request = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad_request)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason.name, DOMAIN, {"envelope_index": "3"})
    assert [violation.field for violation in bad_request.field_violations] == ["a.b"]


@pytest.mark.parametrize("character", ["x", "\N{EURO SIGN}", "\N{GRINNING FACE}", "\ud800"])
def test_a_status_stays_small_whatever_its_text_quotes(character: str) -> None:
    status = status_of(Rejection(ErrorReason.WRONG_ORIGIN, f"begin {character * 40_000} end", field="origin"))
    assert status.message.startswith("begin ")
    assert status.message.endswith(" end")
    # The trailers carry the text percent-encoded and, twice, within base64; gRPC takes 8 KiB of them.
    assert TEXT_BYTES_MAX * 3 + status.ByteSize() * 4 / 3 < 7_000
