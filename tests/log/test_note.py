"""Signed notes: the published example, what is refused, and what must be accepted."""

import base64

import pytest
from nacl.signing import SigningKey

from clearing.log import note
from clearing.log.note import NoteError, Signer, Verifier, parse_verifier

# The key and note that the documentation of Go's note package publishes.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
PETER_NOTE = f"{PETER_TEXT}\n{PETER_SIGNATURE}"

PETER = parse_verifier(PETER_VKEY)
LOG = Signer("alliance.example/log", bytes(range(32)))
OTHER = Signer("other.example", bytes(range(1, 33)))


def test_the_published_note_opens_with_the_published_key() -> None:
    text, signed_by = note.open(PETER_NOTE, [PETER])
    assert text == PETER_TEXT
    assert signed_by == ["PeterNeumann"]


def test_signing_the_published_text_with_the_published_key_gives_the_published_note() -> None:
    signer = Signer("PeterNeumann", PETER_SEED)
    assert signer.vkey == PETER_VKEY
    assert note.sign(PETER_TEXT, signer) == PETER_NOTE


def test_a_key_reads_back_from_its_text_even_if_the_base64_has_plus_signs() -> None:
    verifiers = [Signer(f"log-{number}", bytes([number]) * 32).verifier for number in range(40)]
    assert any("+" in verifier.vkey.split("+", 2)[2] for verifier in verifiers)
    assert [parse_verifier(verifier.vkey) for verifier in verifiers] == verifiers


def test_a_signer_does_not_show_its_seed() -> None:
    assert str(LOG.seed) not in repr(LOG)
    assert "seed" not in repr(LOG)


def test_a_signer_derives_its_key_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[bytes] = []

    class Counted(SigningKey):
        def __init__(self, seed: bytes) -> None:
            derived.append(seed)
            super().__init__(seed)

    monkeypatch.setattr(note, "SigningKey", Counted)
    signer = Signer(LOG.name, LOG.seed)
    assert {note.sign("text\n", signer) for _ in range(3)} == {note.sign("text\n", LOG)}
    assert signer.verifier == LOG.verifier
    assert derived == [LOG.seed]


def test_text_may_contain_empty_lines_and_what_looks_like_signatures() -> None:
    text = f"first\n\n{PETER_SIGNATURE}\nlast\n"
    assert note.open(note.sign(text, LOG), [LOG.verifier, PETER]) == (text, ["alliance.example/log"])


def test_several_signers_are_named_in_the_note_order() -> None:
    signed = note.sign("text\n", OTHER, LOG)
    assert note.open(signed, [LOG.verifier, OTHER.verifier]).signed_by == [OTHER.name, LOG.name]


def test_signatures_by_unknown_keys_are_ignored() -> None:
    signed = note.sign("text\n", LOG, OTHER) + "— witness.example " + base64.b64encode(bytes(5)).decode() + "\n"
    assert note.open(signed, [LOG.verifier]).signed_by == [LOG.name]


def test_a_signature_of_another_key_with_the_same_name_is_ignored() -> None:
    namesake = Signer(LOG.name, OTHER.seed)
    assert note.open(note.sign("text\n", namesake, LOG), [LOG.verifier]).signed_by == [LOG.name]
    with pytest.raises(NoteError, match="not signed by any known key"):
        note.open(note.sign("text\n", namesake), [LOG.verifier])


def test_a_note_without_a_known_signature_is_refused() -> None:
    with pytest.raises(NoteError, match=r"not signed by any known key \(other.example\)"):
        note.open(PETER_NOTE, [OTHER.verifier])
    with pytest.raises(NoteError, match="none given"):
        note.open(PETER_NOTE, [])


def test_a_wrong_signature_by_a_known_key_is_refused_beside_a_right_one() -> None:
    right = note.sign("text\n", LOG)
    wrong_line = note.sign("other text\n", OTHER).split("\n\n")[1]
    assert note.open(right + wrong_line, [LOG.verifier]).signed_by == [LOG.name]
    with pytest.raises(NoteError, match=r"other\.example.*does not match"):
        note.open(right + wrong_line, [LOG.verifier, OTHER.verifier])


def test_a_repeated_signature_counts_once_and_a_wrong_repetition_is_refused() -> None:
    right = note.sign("text\n", LOG)
    line = right.split("\n\n")[1]
    assert note.open(right + line, [LOG.verifier]).signed_by == [LOG.name]
    with pytest.raises(NoteError, match="does not match"):
        note.open(right + note.sign("other\n", LOG).split("\n\n")[1], [LOG.verifier])


def test_every_altered_character_of_the_text_is_noticed() -> None:
    for position in range(len(PETER_TEXT)):
        other = "\N{MIDDLE DOT}"
        with pytest.raises(NoteError):
            note.open(PETER_NOTE[:position] + other + PETER_NOTE[position + 1 :], [PETER])


@pytest.mark.parametrize(
    ("malformed", "reason"),
    [
        ("", "no empty line"),
        ("text\n", "no empty line"),
        (f"text\n{PETER_SIGNATURE}", "no empty line"),
        (f"{PETER_TEXT}\n", "no signature line"),
        (PETER_NOTE[:-1], "last line is cut short"),
        (PETER_NOTE + "\n", "no signature line"),
        (PETER_NOTE.replace("\n", "\r\n"), "control character"),
        (f"tab\t{PETER_NOTE}", "control character"),
        (f"{PETER_NOTE[:5]}\x00{PETER_NOTE}", "control character"),
        (f"\udce9{PETER_NOTE}", "not valid UTF-8"),
        (PETER_NOTE.replace("— ", "- "), "no signature line"),
        (PETER_NOTE.replace("— ", "—"), "no signature line"),
        (PETER_NOTE.replace("— ", "— — "), "cannot be read"),
        (PETER_NOTE.replace("— Peter", "— Peter+"), "no signature line"),
        (PETER_NOTE.replace("— Peter", "— Peter\N{NO-BREAK SPACE}"), "no signature line"),
        (PETER_NOTE.replace("— PeterNeumann", "— "), "no signature line"),
        (PETER_NOTE.replace("x08go", "x08g*"), "cannot be read"),
        (PETER_NOTE.replace("AM=\n", "AN=\n"), "canonical"),
        (PETER_NOTE.replace("AM=\n", "AM= \n"), "cannot be read"),
        (PETER_NOTE + "— witness.example AAAAAA==\n", "cut short"),
        (PETER_NOTE + "words\n", "no signature line"),
        (PETER_NOTE + PETER_SIGNATURE * 100, "101 signatures"),
        ("x" * 1_000_000 + PETER_NOTE, "larger than 1000000 bytes"),
    ],
)
def test_a_malformed_note_is_refused_with_its_reason(malformed: str, reason: str) -> None:
    with pytest.raises(NoteError, match=reason):
        note.open(malformed, [PETER])


def test_a_hundred_signatures_are_taken() -> None:
    assert note.open(PETER_NOTE + PETER_SIGNATURE * 99, [PETER]).signed_by == ["PeterNeumann"]


def test_a_known_key_with_a_signature_of_another_length_is_refused() -> None:
    line = base64.b64encode(LOG.verifier.key_id + LOG.sign("text\n") + b"\x00").decode()
    with pytest.raises(NoteError, match="does not match"):
        note.open(f"text\n\n— {LOG.name} {line}\n", [LOG.verifier])


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "\x1f\n", "\ud800\n", "x" * 1_000_000 + "\n"])
def test_text_that_no_note_can_carry_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        note.sign(text, LOG)


def test_a_note_without_signers_is_not_made() -> None:
    with pytest.raises(NoteError, match="at least one signer"):
        note.sign("text\n")


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak", "no\N{NO-BREAK SPACE}break"])
def test_malformed_key_names_are_refused(name: str) -> None:
    with pytest.raises(NoteError, match="no key name"):
        Signer(name, bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_seeds_and_public_keys_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(NoteError, match="32 bytes"):
        Signer("name", bytes(size))
    with pytest.raises(NoteError, match="32 bytes"):
        Verifier("name", bytes(size))


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        PETER_VKEY.replace("Peter", "Piter"),
        PETER_VKEY.replace("c74f20a3", "c74f20a4"),
        PETER_VKEY.replace("c74f20a3", "C74F20A3"),
        PETER_VKEY.replace("+ARpc", "+BRpc"),
        PETER_VKEY[:-4],
        PETER_VKEY + "\n",
        " " + PETER_VKEY,
    ],
)
def test_a_malformed_public_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        parse_verifier(vkey)
