"""docs/errors.md lists exactly the contract's error reasons and outcomes, with the codes that the gateway gives."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.descriptor import EnumDescriptor
from google.rpc.code_pb2 import Code

from clearing.errors import ErrorReason
from clearing.v1 import entry_pb2, error_pb2
from merchant_gateway.client.gateway_error import RETRIED_CODES
from merchant_gateway.server.errors import STATUS_CODES

DOCUMENT = (Path(__file__).parents[2] / "docs/errors.md").read_text()


def table(first_column: str) -> list[dict[str, str]]:
    """The rows of the table with this first column."""
    (found,) = re.findall(rf"^\| {first_column} \|.*?\n\n", DOCUMENT, re.MULTILINE | re.DOTALL)
    header, _, *rows = (
        [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")] for line in found.strip().splitlines()
    )
    return [dict(zip(header, row, strict=True)) for row in rows]


def members(enum: EnumDescriptor, prefix: str) -> list[tuple[str, int]]:
    """Names without their prefix, and numbers, in the contract's order, without the one that is never given."""
    return [(value.name.removeprefix(prefix), value.number) for value in enum.values if value.number]


REASONS = table("reason")
OUTCOMES = table("outcome")


def test_every_error_reason_of_the_contract_has_a_row_and_no_other_has() -> None:
    contract = members(error_pb2.ErrorReason.DESCRIPTOR, "ERROR_REASON_")
    assert [row["reason"] for row in REASONS] == [name for name, _ in contract]
    assert contract == [(reason.name, reason.value) for reason in ErrorReason]


def test_every_error_reason_has_the_code_that_the_gateway_gives() -> None:
    assert {row["reason"]: row["code"] for row in REASONS} == {
        reason.name: Code.Name(code) for reason, code in STATUS_CODES.items()
    }


def test_those_errors_are_sent_again_that_our_client_sends_again() -> None:
    retried = {code.name for code in RETRIED_CODES}
    assert {row["reason"] for row in REASONS if row["again"] == "yes"} == {
        row["reason"] for row in REASONS if row["code"] in retried
    }


def test_every_outcome_of_the_contract_has_a_row_and_no_other_has() -> None:
    contract = members(entry_pb2.Outcome.DESCRIPTOR, "OUTCOME_")
    assert [(row["outcome"], int(row["number"])) for row in OUTCOMES] == contract


def test_every_row_says_what_it_means_and_what_to_do() -> None:
    assert all(cell for row in [*REASONS, *OUTCOMES] for cell in row.values())


def test_outcomes_of_instructions_alone_are_numbered_from_thirty() -> None:
    assert {row["outcome"] for row in OUTCOMES if row["of"] == "I"} == {
        row["outcome"] for row in OUTCOMES if int(row["number"]) >= 30
    }
