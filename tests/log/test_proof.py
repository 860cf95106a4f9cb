"""Proof files: the format to the letter, and offline verification."""

import base64

import pytest

from clearing.log.checkpoint import Checkpoint, sign_checkpoint
from clearing.log.merkle import ProofError, inclusion_path, leaf_hash, root
from clearing.log.note import NoteError, Signer
from clearing.log.proof import Proof, format_proof, parse_proof, verify_proof

LOG = Signer("alliance.example/log", bytes(range(32)))
ENTRIES = [f"entry {number}".encode() for number in range(11)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
CHECKPOINT = Checkpoint(LOG.name, len(LEAVES), root(LEAVES))
SIGNED = sign_checkpoint(CHECKPOINT, LOG)


def proof_of(index: int, extra: bytes = b"") -> str:
    return format_proof(index, inclusion_path(LEAVES, index, len(LEAVES)), SIGNED, extra)


def test_a_proof_is_written_as_the_specification_lays_it_out() -> None:
    encoded_path = [base64.b64encode(sibling).decode() for sibling in inclusion_path(LEAVES, 9, 11)]
    assert proof_of(9, b"extra data") == "\n".join(
        ["c2sp.org/tlog-proof@v1", "extra ZXh0cmEgZGF0YQ==", "index 9", *encoded_path, "", SIGNED]
    )
    assert proof_of(9) == proof_of(9, b"extra data").replace("extra ZXh0cmEgZGF0YQ==\n", "")


def test_the_head_of_the_specification_example_reads() -> None:
    text = (
        "c2sp.org/tlog-proof@v1\nextra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ\nindex 73894\n"
        "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n"
        "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\nRoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n"
        "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n\nexample.com/fancylog\n"
    )
    proof = parse_proof(text)
    assert proof.extra.startswith(b"age-v1.2.1-darwin-arm64.tar.gz")
    assert len(proof.path) == 5
    assert proof.index == 73_894
    assert proof.path[0].hex() == "8122b25e861952067a8ddb9662b9033804629ce30626f7978e032405371d3e54"
    assert proof.signed_checkpoint == "example.com/fancylog\n"
    assert format_proof(proof.index, proof.path, proof.signed_checkpoint, proof.extra) == text


@pytest.mark.parametrize("extra", [b"", b"\x00", b"some words"])
@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_every_proof_reads_back_and_verifies(index: int, extra: bytes) -> None:
    text = proof_of(index, extra)
    path = tuple(inclusion_path(LEAVES, index, len(LEAVES)))
    assert parse_proof(text) == Proof(index, path, SIGNED, extra)
    assert verify_proof(text, ENTRIES[index], LOG.verifier) == CHECKPOINT


def test_the_only_entry_of_a_log_needs_no_path() -> None:
    signed = sign_checkpoint(Checkpoint(LOG.name, 1, LEAVES[0]), LOG)
    text = format_proof(0, [], signed)
    assert text == f"c2sp.org/tlog-proof@v1\nindex 0\n\n{signed}"
    verify_proof(text, ENTRIES[0], LOG.verifier)


def test_a_proof_proves_no_other_entry_and_no_other_place() -> None:
    with pytest.raises(ProofError, match="does not lead to the root"):
        verify_proof(proof_of(3), ENTRIES[4], LOG.verifier)
    with pytest.raises(ProofError):
        verify_proof(proof_of(3).replace("index 3", "index 4"), ENTRIES[3], LOG.verifier)
    with pytest.raises(ProofError, match="cannot be in a tree"):
        verify_proof(proof_of(3).replace("index 3", "index 11"), ENTRIES[3], LOG.verifier)


def test_a_proof_under_another_key_or_an_altered_checkpoint_is_refused() -> None:
    with pytest.raises(NoteError):
        verify_proof(proof_of(3), ENTRIES[3], Signer(LOG.name, bytes(32)).verifier)
    with pytest.raises(NoteError, match="does not match"):
        verify_proof(proof_of(3).replace("\n11\n", "\n12\n"), ENTRIES[3], LOG.verifier)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("tlog-proof@v1", "tlog-proof@v2", "first line"),
        ("index 5\n", "", "no line 'index'"),
        ("index 5", "index 05", "leading zeros"),
        ("index 5", "index -5", "decimal"),
        ("index 5", "index", "no line 'index'"),
        ("index 5", "Index 5", "no line 'index'"),
        ("index 5", "index 5\nindex 5", "path"),
        ("index 5", "extra \nindex 5", "must be left out"),
        ("index 5", "extra !\nindex 5", "extra data"),
        ("index 5", "extra AA==\nextra AA==\nindex 5", "no line 'index'"),
        ("index 5", "index 5\nAAAA", "exactly 32 bytes"),
        ("index 5", "index 5\nAAAA*", "path"),
        ("\n\n", "\n", "no empty line"),
    ],
)
def test_a_malformed_proof_is_refused_with_its_reason(before: str, after: str, reason: str) -> None:
    text = proof_of(5)
    assert before in text
    with pytest.raises(ProofError, match=reason):
        parse_proof(text.replace(before, after))


def test_malformed_parts_make_no_proof() -> None:
    with pytest.raises(ProofError):
        format_proof(-1, [], SIGNED)
    with pytest.raises(ProofError):
        format_proof(0, [b"short"], SIGNED)
