"""``alliance.json``: read as it was written, or named for what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearing.contract.log_identity import LogIdentity
from clearing.log.note import Signer
from merchant_gateway.client.alliance_file import AllianceFileError, alliance_file_text, read_alliance

LOG = LogIdentity(Signer("clearing.example/test", bytes(32)).verifier, bytes(range(16)))
CONTENT = json.loads(alliance_file_text(LOG))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "alliance.json"
    path.write_text(alliance_file_text(LOG))
    assert read_alliance(path) == LOG


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        (json.dumps({"origin": LOG.origin, "log_verifier": LOG.verifier.vkey}), "is damaged"),
        (json.dumps(CONTENT | {"log_id": 5}), "is damaged"),
        (json.dumps(CONTENT | {"log_id": "no hexadecimal"}), "is damaged"),
        (json.dumps(CONTENT | {"log_verifier": "no key"}), "is damaged"),
        (json.dumps(CONTENT | {"log_id": bytes(15).hex()}), "contradicts itself"),
        (json.dumps(CONTENT | {"origin": "clearing.example/other"}), "contradicts itself"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_and_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "alliance.json"
    path.write_text(text)
    with pytest.raises(AllianceFileError, match=rf"alliance\.json {said}.*copy it again"):
        read_alliance(path)


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AllianceFileError, match=r"there is no .*alliance\.json; found an alliance first"):
        read_alliance(tmp_path / "alliance.json")
    with pytest.raises(AllianceFileError, match="cannot read"):
        read_alliance(tmp_path)
