"""Two people, two machines: one drafts and signs, the other reads, signs and sends."""

from pathlib import Path

from clearing.signing.envelope import sign_envelope
from clearing.signing.key_files import read_private_key
from clearing.v1.envelope_pb2 import Envelope
from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation


def key_of(installation: Installation, holder: str) -> Path:
    return installation.home / "keys" / f"operator-{holder}.pem"


def test_one_person_alone_cannot_admit_a_merchant(four_eyes: Installation) -> None:
    alone = ("merchant", "admit", "florist", "--name", "Florist Ltd", "--key", key_of(four_eyes, "anna"))

    assert "SECOND_SIGNATURE_REQUIRED" in four_eyes.refused(*alone)
    assert four_eyes.json("merchant", "list", "--key", key_of(four_eyes, "anna")) == []


def test_a_draft_is_signed_by_the_second_person_and_sent(four_eyes: Installation, tmp_path: Path) -> None:
    draft = tmp_path / "bakery.draft"
    admission = ("merchant", "admit", "bakery", "--name", "Bakery Ltd")
    four_eyes.done(*admission, "--key", key_of(four_eyes, "anna"), "--draft", draft)
    assert "SECOND_SIGNATURE_REQUIRED" in four_eyes.refused("instruct", draft)

    # Ben's machine has the draft and his key, and nothing else.
    elsewhere = Installation(tmp_path / "elsewhere")
    shown = elsewhere.done("sign", draft, "--key", key_of(four_eyes, "ben"))
    for said in ("admit the merchant", "bakery", "Bakery Ltd", ORIGIN, "admit-bakery"):
        assert said in shown
    assert "has signed" in elsewhere.refused("sign", draft, "--key", key_of(four_eyes, "ben"))

    sent = four_eyes.json("instruct", draft)
    assert (sent["outcome"], sent["reference"], sent["replayed"]) == ("ACCEPTED", "admit-bakery", False)
    assert four_eyes.json("instruct", draft) == {**sent, "replayed": True}


def test_two_keys_on_one_machine_sign_at_once(four_eyes: Installation) -> None:
    both = ("--key", key_of(four_eyes, "anna"), "--key", key_of(four_eyes, "ben"))

    assert "cinema is a member" in four_eyes.done("merchant", "admit", "cinema", "--name", "Cinema Ltd", *both)


def test_a_key_whose_file_is_elsewhere_is_registered_by_its_holders_own_signature(
    four_eyes: Installation, tmp_path: Path
) -> None:
    made = four_eyes.json("key", "new", tmp_path / "auditor.pem")
    draft = tmp_path / "auditor.draft"
    registration = ("key", "register", "--role", "auditor", "--holder", "dora", "--public-key", made["public_key"])
    both = ("--key", key_of(four_eyes, "anna"), "--key", key_of(four_eyes, "ben"))
    four_eyes.done(*registration, *both, "--draft", draft)
    assert "MISSING_PROOF_OF_POSSESSION" in four_eyes.refused("instruct", draft)

    four_eyes.done("sign", draft, "--key", tmp_path / "auditor.pem")
    assert four_eyes.json("instruct", draft)["outcome"] == "ACCEPTED"
    listed = four_eyes.json("key", "list", "--key", tmp_path / "auditor.pem")
    assert ("auditor", "dora") in [(key["role"], key["holder"]) for key in listed]

    revoked = four_eyes.json("key", "revoke", made["keyid"], *both)
    assert revoked["outcome"] == "ACCEPTED"
    assert "KEY_REVOKED" in four_eyes.refused("key", "list", "--key", tmp_path / "auditor.pem")


def test_a_draft_takes_the_place_of_an_older_one_and_of_nothing_else(four_eyes: Installation, tmp_path: Path) -> None:
    draft, key = tmp_path / "books.draft", key_of(four_eyes, "anna")
    for name in ("Books", "Books Ltd"):
        four_eyes.done("merchant", "admit", "books", "--name", name, "--key", key, "--draft", draft)
    assert b"Books Ltd" in draft.read_bytes()
    before = Path(key).read_bytes()
    heard = four_eyes.refused("merchant", "admit", "books", "--name", "Books Ltd", "--key", key, "--draft", key)
    assert "is no draft; name another file" in heard
    assert Path(key).read_bytes() == before


def test_a_draft_that_was_altered_is_turned_away(four_eyes: Installation, tmp_path: Path) -> None:
    draft = tmp_path / "toys.draft"
    both = ("--key", key_of(four_eyes, "anna"), "--key", key_of(four_eyes, "ben"))
    four_eyes.done("merchant", "admit", "toys", "--name", "Toys Ltd", *both, "--draft", draft)
    envelope = Envelope.FromString(draft.read_bytes())
    envelope.payload = envelope.payload.replace(b"Toys Ltd", b"Toys LTD")
    draft.write_bytes(envelope.SerializeToString())

    assert "BAD_SIGNATURE" in four_eyes.refused("instruct", draft)


def test_a_month_that_is_not_over_is_refused_and_can_be_tried_again(four_eyes: Installation) -> None:
    anna = ("--key", key_of(four_eyes, "anna"))
    (window,) = [each["window"] for each in four_eyes.json("window", "list", *anna)]

    first = four_eyes.refused("window", "close", window, *anna)
    second = four_eyes.refused("window", "close", window, *anna)

    assert f"close-{window} was refused: WINDOW_NOT_OVER" in first
    assert f"close-{window}-2 was refused: WINDOW_NOT_OVER" in second


def test_a_file_that_is_no_draft_is_named(four_eyes: Installation, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no draft")
    key = read_private_key(key_of(four_eyes, "anna"))
    presentment = sign_envelope(b"\x0a\x01x", "application/vnd.clearing.presentment.v1+protobuf", [key])
    (tmp_path / "presentment").write_bytes(presentment.SerializeToString())

    assert "cannot read" in four_eyes.refused("instruct", tmp_path / "missing")
    for name in ("text", "presentment"):
        assert f"{tmp_path / name} is no draft" in four_eyes.refused("sign", tmp_path / name)


def test_a_members_office_registers_and_revokes_its_tills_by_itself(four_eyes: Installation) -> None:
    both = ("--key", key_of(four_eyes, "anna"), "--key", key_of(four_eyes, "ben"))
    office, as_office = ("--role", "merchant-office", "--merchant", "grocer"), ("--office", "grocer")
    four_eyes.done("merchant", "admit", "grocer", "--name", "Grocer Ltd", *both)
    registered = four_eyes.done("key", "register", *office, "--new", *both)
    assert "merchant-office of grocer" in registered

    till = ("key", "register", "--role", "merchant", "--merchant", "grocer", "--new")
    assert "OFFICE_MUST_SIGN" in four_eyes.refused(*till, *both)
    assert "ROLE_NOT_ALLOWED" in four_eyes.refused(*till, *both, *as_office)
    four_eyes.done(*till, *as_office)
    (key,) = [each for each in four_eyes.json("key", "list", *both[:2]) if each["role"] == "merchant"]
    assert (key["merchant"], key["revoked_at"]) == ("grocer", "")
    assert "MERCHANT_MISMATCH" in four_eyes.refused(
        "key",
        "revoke",
        key["keyid"],
        "--office",
        "bakery",
        "--key",
        four_eyes.home / "keys" / "merchant-office-grocer.pem",
    )
    four_eyes.done("key", "revoke", key["keyid"], *as_office)
    (key,) = [each for each in four_eyes.json("key", "list", *both[:2]) if each["role"] == "merchant"]
    assert key["revoked_at"]


def test_an_amendment_is_shown_before_it_is_signed_and_told_to_anybody_afterwards(
    four_eyes: Installation, tmp_path: Path
) -> None:
    draft = tmp_path / "late.draft"
    amendment = ("alliance", "amend", "--from", "2099-01-01", "--late-presentment-days", "3")
    shown = " ".join(four_eyes.done(*amendment, "--key", key_of(four_eyes, "anna"), "--draft", draft).split())
    shown = shown.replace("\N{BOX DRAWINGS LIGHT VERTICAL} ", "")
    for said in ("days a transaction may be presented late 7 7 3", "months that lots live 24 24 24", "30 days after"):
        assert said in shown
    assert "SECOND_SIGNATURE_REQUIRED" in four_eyes.refused("instruct", draft)
    shown = " ".join(four_eyes.done("sign", draft, "--key", key_of(four_eyes, "ben")).split())
    assert "amend the constitution from 2099-01-01" in shown
    assert "days late 3" in shown
    four_eyes.done("instruct", draft)

    anybody = four_eyes.json("alliance", "show")
    assert (anybody["late_presentment_days"], anybody["notice_days"]) == (7, 30)
    assert [(each["effective_from"], each["late_presentment_days"]) for each in anybody["amendments"]] == [
        ("2099-01-01", 3)
    ]
    assert "2099-01-01" in four_eyes.done("alliance", "show")

    both = ("--key", key_of(four_eyes, "anna"), "--key", key_of(four_eyes, "ben"))
    assert "AMENDMENT_TOO_SOON" in four_eyes.refused(
        "alliance", "amend", "--from", "2020-01-01", "--notice-days", "1", *both
    )
    assert "must change something" in four_eyes.refused("alliance", "amend", "--from", "2099-01-01", *both)
    assert "--from" in four_eyes.refused("alliance", "amend", "--from", "soon", "--notice-days", "1", *both)
    assert "UNKNOWN_VERSION" in four_eyes.refused(
        "alliance", "adopt", "--window", "2099-01", "--rules-version", "2", *both
    )
    assert "VERSIONS_UNCHANGED" in four_eyes.refused("alliance", "adopt", "--window", "2099-01", *both)
