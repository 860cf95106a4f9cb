"""docs/protocol.md says enough: its example comes out the same by hand, by our code, and in the document itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from clearing.audit.replay import Replay
from clearing.contract.receipt import receipt_of
from clearing.log.folder import read_log_folder
from clearing.log.note import parse_verifier
from clearing.log.proof import verify_proof
from clearing.signing.tokens import make_token, read_token
from clearing.v1.entry_pb2 import Receipt
from merchant_gateway.client.transaction_receipt import check_submitted
from settlement.auditing.audit import verify_export
from tests.docs import by_hand_example, by_hand_log, by_library_example
from tests.docs.by_hand_log import RefusedError, check_consistency, check_inclusion, open_checkpoint
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
EXAMPLE: dict[str, Any] = json.loads((ROOT / "docs/protocol-example.json").read_text())
DOCUMENT = (ROOT / "docs/protocol.md").read_text()
VERIFIER = parse_verifier(EXAMPLE["keys"]["log"]["vkey"])

DER_PRIVATE_KEY_PREFIX = "302e020100300506032b657004220420"
DER_PUBLIC_KEY_PREFIX = "302a300506032b6570032100"


def value_at(place: str) -> Any:
    """The example's value at a place such as ``entries.presentment.payload``."""
    value: Any = EXAMPLE
    for step in place.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


# ---- made twice ----


def test_the_description_alone_gives_every_value() -> None:
    assert by_hand_example.example() == EXAMPLE


def test_the_values_made_by_hand_need_nothing_of_ours_and_no_protobuf_library() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from tests.docs.by_hand_example import example; example(); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", program, str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    loaded = set(run.stdout.split())
    assert "cryptography" in loaded
    assert not loaded & {"clearing", "merchant_gateway", "settlement", "google", "grpc", "nacl", "jwt"}


def test_our_code_gives_every_value() -> None:
    without_token = {name: value for name, value in EXAMPLE.items() if name != "token"}
    assert by_library_example.example() == without_token


def test_our_tokens_say_what_the_examples_says_and_the_examples_is_taken() -> None:
    now = by_library_example.instant(by_library_example.TOKEN_TIME)
    key = by_library_example.MERCHANT_KEY
    ours = make_token(key, by_library_example.ORIGIN, now)
    assert jwt.get_unverified_header(ours) == EXAMPLE["token"]["header"]
    assert jwt.decode(ours, options={"verify_signature": False}) == EXAMPLE["token"]["claims"]
    taken = read_token(EXAMPLE["token"]["token"], EXAMPLE["origin"], {key.key_id: key.public_key}.get, now)
    assert taken == EXAMPLE["keys"]["merchant"]["keyid"]


# ---- a real log ----


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """The example's files in a folder."""
    for name, content in EXAMPLE["export"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        is_note = name == "checkpoint"
        (tmp_path / name).write_bytes(content.encode() if is_note else bytes.fromhex(content))
    return tmp_path


def test_the_audit_accepts_the_examples_files(export: Path) -> None:
    report = verify_export(export, VERIFIER)
    assert (report.entries, report.signatures, report.cards, report.points_outstanding) == (6, 7, 1, 70)


def test_the_replay_finds_the_examples_entries_in_its_files(export: Path) -> None:
    leaves = list(read_log_folder(export, VERIFIER).entries())
    with Replay(leaves.__getitem__) as replay:
        for leaf in leaves:
            replay.step(leaf)
        replay.finish()
    assert [leaf.hex() for leaf in leaves] == [entry["entry"] for entry in EXAMPLE["entries"].values()]


def test_the_presentment_sent_again_is_answered_by_its_entry() -> None:
    assert by_library_example.ExampleLog().answer_again("presentment") == 4


def test_the_proof_file_proves_the_entry() -> None:
    entry = bytes.fromhex(EXAMPLE["entries"]["presentment"]["entry"])
    assert verify_proof(EXAMPLE["proof_file"], entry, VERIFIER).size == 6


@pytest.mark.parametrize(
    ("name", "sent", "outcomes", "entry_indexes"),
    [
        ("presentment", "presentment", ["ACCEPTED", "ACCEPTED"], [4, 4]),
        ("presentment_again", "presentment", ["ACCEPTED", "ACCEPTED"], [4, 4]),
        ("mixed_presentment", "mixed_presentment", ["ACCEPTED", "ACCEPTED", "INSUFFICIENT_POINTS"], [4, 5, 5]),
    ],
)
def test_our_client_accepts_the_examples_receipts(
    name: str, sent: str, outcomes: list[str], entry_indexes: list[int]
) -> None:
    receipt = receipt_of(Receipt.FromString(bytes.fromhex(EXAMPLE["receipts"][name])))
    envelope = next(each.envelope for each in by_library_example.messages() if each.name == sent)
    _, checked = check_submitted(envelope, receipt, VERIFIER)
    assert [each.outcome.name for each in checked] == outcomes
    assert [each.entry_index for each in checked] == entry_indexes
    assert receipt.replayed == (name == "presentment_again")


# ---- the document's checks, by hand ----


def hashes(place: str) -> list[bytes]:
    return [bytes.fromhex(each) for each in value_at(place)]


def checkpoint(size: str) -> tuple[int, bytes]:
    return open_checkpoint(EXAMPLE["checkpoints"][size]["note"], EXAMPLE["keys"]["log"]["vkey"])


@pytest.mark.parametrize(("index", "size"), [(4, "5"), (4, "6"), (5, "6")])
def test_the_documents_inclusion_check_takes_the_path_and_no_other(index: int, size: str) -> None:
    name = {4: "presentment", 5: "mixed_presentment"}[index]
    leaf = bytes.fromhex(EXAMPLE["entries"][name]["leaf_hash"])
    path = hashes(f"inclusion_paths.entry_{index}_of_{size}")
    entries, root = checkpoint(size)
    check_inclusion(leaf, index, entries, path, root)
    for altered in (path[:-1], [*path, root], [bytes(32), *path[1:]]):
        with pytest.raises(RefusedError):
            check_inclusion(leaf, index, entries, altered, root)
    for other_index in set(range(entries + 1)) - {index}:
        with pytest.raises(RefusedError):
            check_inclusion(leaf, other_index, entries, path, root)


def test_the_documents_consistency_check_takes_the_path_and_no_other() -> None:
    path = hashes("consistency_path_5_to_6")
    (old_size, old_root), (new_size, new_root) = checkpoint("5"), checkpoint("6")
    check_consistency(old_size, new_size, old_root, new_root, path)
    for altered in ([], path[:-1], path[::-1], [*path, new_root]):
        with pytest.raises(RefusedError):
            check_consistency(old_size, new_size, old_root, new_root, altered)
    with pytest.raises(RefusedError):
        check_consistency(old_size, new_size, new_root, new_root, path)


def test_the_documents_steps_open_a_checkpoint_of_the_trusted_key_only() -> None:
    note, vkey = EXAMPLE["checkpoints"]["6"]["note"], EXAMPLE["keys"]["log"]["vkey"]
    assert open_checkpoint(note, vkey) == (6, bytes.fromhex(EXAMPLE["checkpoints"]["6"]["root"]))
    with pytest.raises(RefusedError, match="does not hold"):
        open_checkpoint(note.replace("\n6\n", "\n7\n"), vkey)
    with pytest.raises(RefusedError, match="not signed"):
        open_checkpoint(note, by_hand_log.vkey(EXAMPLE["origin"], by_hand_example.OPERATOR_KEY.public_key))
    with pytest.raises(RefusedError, match="contradicts"):
        open_checkpoint(note, vkey.replace("52959c44", "52959c45"))


# ---- what stands in the document ----

BLOCKS = re.findall(r"^```(hex|text) (\S+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_the_document_shows_the_values_that_matter() -> None:
    shown = {place for _, place, _ in BLOCKS}
    assert {"checkpoints.5.note", "checkpoints.6.note", "keys.log.vkey", "token.token", "proof_file"} <= shown


def test_every_place_that_the_document_names_is_in_the_example() -> None:
    named = re.findall(r"`((?:entries|inclusion_paths|checkpoints)\.[a-z0-9_.]+)`", DOCUMENT)
    assert len(named) >= 10
    for place in named:
        assert value_at(place)


@pytest.mark.parametrize(("form", "place", "block"), BLOCKS, ids=[place for _, place, _ in BLOCKS])
def test_every_block_of_the_document_is_the_examples_value(form: str, place: str, block: str) -> None:
    value = value_at(place)
    if form == "text":
        assert block == value.rstrip("\n") + "\n"
    else:
        shown = [line.split()[0] for line in block.splitlines()]
        assert shown == value if isinstance(value, list) else "".join(shown) == value


def test_every_long_hexadecimal_number_in_the_text_is_one_of_the_example() -> None:
    text = re.sub(r"^```.*?^```$", "", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    numbers = set(re.findall(r"`([0-9a-f]{24,})`", text)) - {DER_PRIVATE_KEY_PREFIX, DER_PUBLIC_KEY_PREFIX}
    assert len(numbers) >= 10
    example = (ROOT / "docs/protocol-example.json").read_text()
    assert not {number for number in numbers if f'"{number}"' not in example}


def test_the_prefixes_for_key_libraries_make_keys_of_raw_bytes() -> None:
    assert DER_PRIVATE_KEY_PREFIX in DOCUMENT
    assert DER_PUBLIC_KEY_PREFIX in DOCUMENT
    merchant = EXAMPLE["keys"]["merchant"]
    private_key = load_der_private_key(bytes.fromhex(DER_PRIVATE_KEY_PREFIX + merchant["seed"]), None)
    public_key = load_der_public_key(bytes.fromhex(DER_PUBLIC_KEY_PREFIX + merchant["public_key"]))
    assert private_key.public_key() == public_key
