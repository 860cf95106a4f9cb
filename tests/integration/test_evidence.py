"""What people kept of the log, held against a later export: an operator that rewrites its log contradicts itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from back_office.client.earlier import read_evidence
from back_office.errors import BackOfficeError
from clearing.audit.evidence import TwoLogsError
from clearing.audit.folder_proof import prove_reference
from clearing.calendar import moment_of
from clearing.errors import ClearingError
from clearing.log.checkpoint import Checkpoint, sign_checkpoint
from clearing.log.folder import read_log_folder
from clearing.log.folder_writer import write_log_folder
from clearing.log.merkle import leaf_hash, root
from clearing.log.note import Signer
from clearing.model import MerchantId
from clearing.signing.keys import PrivateKey
from clearing.v1 import entry_pb2, presentment_pb2
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.receipt_store import ReceiptStore
from merchant_gateway.client.transactions import earn
from settlement.auditing.audit import AuditReport, verify_export
from tests.back_office.installation import Installation
from tests.integration.alliance import ORIGIN, Alliance, founded

KEPT = ("checkpoint", "entry.tlog-proof", "receipt", "receipts.sqlite")
"""The four kinds of files, all of them from the same moment."""


@pytest.fixture(scope="module")
def alliance(module_database_url: str) -> Iterator[Alliance]:
    with founded(module_database_url) as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance


@pytest.fixture(scope="module")
def kept(alliance: Alliance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what was kept in the middle of the month; afterwards the log has grown."""
    folder = tmp_path_factory.mktemp("kept")
    card = alliance.open_card("bakery")
    alliance.earn("bakery", card, 10, reference="kept-1")
    (receipt,) = alliance.submit(
        alliance.envelope(
            alliance.presentment(
                "bakery", alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=20), reference="kept-2")
            )
        )
    )
    (folder / "receipt").write_bytes(receipt.SerializeToString())
    with (
        ReceiptStore(folder / "receipts.sqlite", alliance.log_key.verifier) as store,
        MerchantClient(
            alliance.gateway.server.address,
            alliance.identity,
            MerchantId("bakery"),
            alliance.keys["bakery"],
            receipts=store,
        ) as client,
    ):
        for number in range(3):
            when = moment_of(alliance.time())
            client.submit([earn(f"stored-{number}", card, "bakery-1", 30, when)], presented_at=when)
    alliance.export(folder / "export")
    shutil.copy(folder / "export" / "checkpoint", folder / "checkpoint")
    proven = prove_reference(folder / "export", alliance.log_key.verifier, "bakery", "kept-1")
    (folder / "entry.tlog-proof").write_text(proven.proof, encoding="utf-8")
    for number in range(300):
        alliance.earn("cinema", card, 1, reference=f"later-{number}")
    return folder


@pytest.fixture(scope="module")
def exported(alliance: Alliance, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert kept.is_dir(), "kept before the export"
    folder = tmp_path_factory.mktemp("export")
    alliance.export(folder)
    return folder


def audit(alliance: Alliance, folder: Path, *files: Path) -> AuditReport:
    verifier = alliance.log_key.verifier
    return verify_export(folder, verifier, evidence=read_evidence(files, verifier))


def rewritten(alliance: Alliance, exported: Path, folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """The export with other entries, hashed and signed anew by the alliance's own key."""
    signer = alliance.log_key
    entries = change(list(read_log_folder(exported, signer.verifier).entries()))
    checkpoint = Checkpoint(ORIGIN, len(entries), root([leaf_hash(entry) for entry in entries]))
    write_log_folder(folder, entries, sign_checkpoint(checkpoint, signer), signer.verifier)
    return folder


def cut_before(reference: str) -> Callable[[list[bytes]], list[bytes]]:
    """Leaves out the entry of a reference and all that came after it, so that what remains is in order."""

    def change(entries: list[bytes]) -> list[bytes]:
        place = next(index for index, entry in enumerate(entries) if reference.encode() in entry)
        return entries[:place]

    return change


def test_a_log_that_has_only_grown_holds_all_that_was_kept_of_it(
    alliance: Alliance, kept: Path, exported: Path
) -> None:
    for name in KEPT:
        report = audit(alliance, exported, kept / name)
        assert report.earlier_checkpoints >= 1
        assert report.earlier_entries == {"receipt": 1, "receipts.sqlite": 3}.get(name, 0)
    together = audit(alliance, exported, *(kept / name for name in KEPT))
    assert together.earlier_entries == 4
    assert audit(alliance, kept / "export", *(kept / name for name in KEPT)).earlier_entries == 4


@pytest.mark.parametrize("name", KEPT)
def test_a_log_that_was_cut_and_signed_again_contradicts_what_was_kept(
    alliance: Alliance, kept: Path, exported: Path, tmp_path: Path, name: str
) -> None:
    cut = rewritten(alliance, exported, tmp_path / "cut", cut_before("kept-2"))
    verify_export(cut, alliance.log_key.verifier)  # by itself it is in order
    with pytest.raises(
        TwoLogsError, match="entries were cut off: the alliance signed two different logs; keep both as evidence"
    ):
        audit(alliance, cut, kept / name)


@pytest.mark.parametrize("name", KEPT)
def test_a_log_that_was_rewritten_and_signed_again_contradicts_what_was_kept(
    alliance: Alliance, kept: Path, exported: Path, tmp_path: Path, name: str
) -> None:
    honest = list(read_log_folder(exported, alliance.log_key.verifier).entries())
    dropped = next(index for index, entry in enumerate(honest) if b"kept-1" in entry)
    forged = rewritten(
        alliance, exported, tmp_path / "forged", lambda entries: entries[:dropped] + entries[dropped + 1 :]
    )
    with pytest.raises(TwoLogsError, match="the alliance signed two different logs; keep both as evidence"):
        audit(alliance, forged, kept / name)


def test_the_entry_that_a_receipt_shows_to_be_another_is_named(
    alliance: Alliance, kept: Path, exported: Path, tmp_path: Path
) -> None:
    receipt = entry_pb2.Receipt.FromString((kept / "receipt").read_bytes())

    def change(entries: list[bytes]) -> list[bytes]:
        entry = entry_pb2.Entry.FromString(entries[receipt.index])
        entry.transaction_results[0].points += 1
        entries[receipt.index] = entry.SerializeToString()
        return entries

    forged = rewritten(alliance, exported, tmp_path / "forged", change)
    with pytest.raises(TwoLogsError, match=rf"entry {receipt.index} of this export is not the one in .*receipt: "):
        audit(alliance, forged, kept / "receipt")


def test_two_files_that_contradict_each_other_need_no_export(alliance: Alliance, kept: Path, tmp_path: Path) -> None:
    size = read_log_folder(kept / "export", alliance.log_key.verifier).checkpoint.size
    (tmp_path / "other").write_text(sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), alliance.log_key))
    with pytest.raises(TwoLogsError, match=r"kept.*checkpoint and .*other are of different logs of \d+ entries"):
        read_evidence([kept / "checkpoint", tmp_path / "other"], alliance.log_key.verifier)


def test_a_file_that_the_alliance_has_not_signed_proves_nothing(alliance: Alliance, kept: Path, tmp_path: Path) -> None:
    verifier = alliance.log_key.verifier
    forger = Signer(ORIGIN, PrivateKey.generate().seed)
    receipt = entry_pb2.Receipt.FromString((kept / "receipt").read_bytes())
    receipt.entry += b"\x20\x00"
    for name, content in {
        "forged": sign_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), forger).encode(),
        "altered receipt": receipt.SerializeToString(),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BackOfficeError, match=f"{name} proves nothing"):
            read_evidence([tmp_path / name], verifier)


def test_a_file_that_is_no_evidence_is_named_with_what_would_be(alliance: Alliance, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the log was fine on Monday")
    (tmp_path / "empty").touch()
    (tmp_path / "other.sqlite").write_bytes(b"SQLite format 3\x00 and no more")
    for path, told in (
        (tmp_path / "text", "is neither a signed checkpoint"),
        (tmp_path / "empty", "is neither a signed checkpoint"),
        (tmp_path / "missing", "cannot read"),
        (tmp_path / "other.sqlite", "cannot be read"),
        (kept / "export", f"name the file in it: {kept / 'export' / 'checkpoint'}"),
    ):
        with pytest.raises(ClearingError, match=re.escape(told)):
            read_evidence([path], alliance.log_key.verifier)


def test_the_command_exits_with_1_and_says_to_keep_both(
    alliance: Alliance, kept: Path, exported: Path, tmp_path: Path
) -> None:
    auditor = Installation(tmp_path / "nowhere")
    earlier = [word for name in KEPT for word in ("--earlier", kept / name)]
    key = ("--key", alliance.log_key.vkey)
    report = auditor.json("audit", "verify", exported, *key, *earlier)
    assert (report["verified"], report["earlier_entries"]) == (True, 4)
    assert "entries kept from before, found again" in auditor.done("audit", "verify", exported, *key, *earlier)

    cut = rewritten(alliance, exported, tmp_path / "cut", cut_before("kept-2"))
    assert "is in order" in auditor.done("audit", "verify", cut, *key)
    complaint = auditor.refused("audit", "verify", cut, *key, *earlier)
    assert "the alliance signed two different logs; keep both as evidence" in complaint
