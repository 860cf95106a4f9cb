"""Checkpoints: the specification's example, round trips, and the one spelling each value has."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.log import note
from clearing.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from clearing.log.merkle import EMPTY_ROOT
from clearing.log.note import NoteError, Signer

# The example of C2SP tlog-checkpoint; the specification does not give the public key to its signature.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
LOG = Signer("alliance.example/log", bytes(range(32)))
ROOT_LINE = EXAMPLE.split("\n")[2]


def test_the_example_of_the_specification_reads_and_writes() -> None:
    checkpoint = Checkpoint.parse(EXAMPLE)
    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.size == 20_852_163
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert checkpoint.text() == EXAMPLE


def test_extension_lines_are_allowed_and_kept() -> None:
    text = EXAMPLE + "extension one\nextension two\n"
    checkpoint = Checkpoint.parse(text)
    assert checkpoint.extensions == ("extension one", "extension two")
    assert checkpoint.text() == text


@given(st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_opens_to_what_was_signed(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(LOG.name, size, root)
    assert open_checkpoint(sign_checkpoint(checkpoint, LOG), LOG.verifier) == checkpoint


def test_cosignatures_of_witnesses_do_not_disturb() -> None:
    checkpoint = Checkpoint(LOG.name, 0, EMPTY_ROOT)
    signed = note.sign(checkpoint.text(), Signer("witness.example", bytes(32)), LOG)
    assert open_checkpoint(signed, LOG.verifier) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        "origin\n1\n",
        f"origin\n1\n{ROOT_LINE}",
        f"\n1\n{ROOT_LINE}\n",
        f"origin\n01\n{ROOT_LINE}\n",
        f"origin\n+1\n{ROOT_LINE}\n",
        f"origin\n-1\n{ROOT_LINE}\n",
        f"origin\n 1\n{ROOT_LINE}\n",
        f"origin\n1_000\n{ROOT_LINE}\n",
        f"origin\n\n{ROOT_LINE}\n",
        f"origin\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT_LINE}\n",
        f"origin\n\N{SUPERSCRIPT TWO}\n{ROOT_LINE}\n",
        f"origin\n{2**64}\n{ROOT_LINE}\n",
        f"origin\n{'9' * 5000}\n{ROOT_LINE}\n",
        f"origin\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        f"origin\n1\n{base64.b64encode(bytes(33)).decode()}\n",
        f"origin\n1\n{ROOT_LINE[:-1]}\n",
        f"origin\n1\n{ROOT_LINE} \n",
        f"origin\n1\n{ROOT_LINE.replace('2I=', '2J=')}\n",
        f"origin\n1\n{ROOT_LINE.replace('/', '_')}\n",
        f"origin\n1\n{ROOT_LINE}\n\n",
        f"origin\n1\n{ROOT_LINE}\n\nextension\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_checkpoint_signed_by_another_key_is_refused() -> None:
    impostor = Signer(LOG.name, bytes(32))
    signed = sign_checkpoint(Checkpoint(LOG.name, 0, EMPTY_ROOT), impostor)
    with pytest.raises(NoteError, match="not signed by any known key"):
        open_checkpoint(signed, LOG.verifier)


def test_a_checkpoint_of_another_log_is_neither_signed_nor_opened() -> None:
    foreign = Checkpoint("other.example/log", 0, EMPTY_ROOT)
    with pytest.raises(NoteError, match="use the key of that log"):
        sign_checkpoint(foreign, LOG)
    with pytest.raises(NoteError, match="use the key of that log"):
        open_checkpoint(note.sign(foreign.text(), LOG), LOG.verifier)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 0, EMPTY_ROOT, ()),
        ("two\nlines", 0, EMPTY_ROOT, ()),
        ("origin", -1, EMPTY_ROOT, ()),
        ("origin", 0, EMPTY_ROOT[:-1], ()),
        ("origin", 0, EMPTY_ROOT, ("",)),
        ("origin", 0, EMPTY_ROOT, ("two\nlines",)),
    ],
)
def test_a_checkpoint_out_of_bounds_cannot_be_made(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(NoteError):
        Checkpoint(origin, size, root, extensions)
