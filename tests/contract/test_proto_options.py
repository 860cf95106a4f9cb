"""Each file of the contract names the packages of the code that is generated from it: without, generators stop."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from clearing.v1 import (
    audit_pb2,
    entry_pb2,
    envelope_pb2,
    error_pb2,
    instruction_pb2,
    merchant_gateway_pb2,
    operations_pb2,
    presentment_pb2,
    settlement_pb2,
)

PROTO = Path(__file__).parents[2] / "proto"
GENERATED = (
    audit_pb2,
    entry_pb2,
    envelope_pb2,
    error_pb2,
    instruction_pb2,
    merchant_gateway_pb2,
    operations_pb2,
    presentment_pb2,
    settlement_pb2,
)
FILES = {module.DESCRIPTOR.name: module.DESCRIPTOR for module in GENERATED}


def test_all_files_of_the_contract_are_looked_at() -> None:
    assert set(FILES) == {str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto")}


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_names_its_packages_for_go_and_java(name: str) -> None:
    file = FileDescriptorProto.FromString(FILES[name].serialized_pb)
    assert file.package == "clearing.v1"
    # protoc-gen-go wants an import path, which holds a slash; the name itself stands behind the semicolon.
    assert file.options.go_package == "loyaltyclearing/clearing/v1;clearingv1"
    assert file.options.java_package == "clearing.v1"
    assert file.options.java_multiple_files
