"""The offline audit of an exported log: right as it is, and wrong wherever somebody touched it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearing.contract.instruction import decode_proposal
from clearing.errors import ClearingError
from clearing.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from clearing.log.folder import FolderError, read_log_folder
from clearing.log.folder_writer import write_log_folder
from clearing.log.merkle import leaf_hash, root
from clearing.log.note import Signer
from clearing.log.settlement_trees import payment_leaf
from clearing.log.tiles import bundle_entries
from clearing.model import Outcome, WindowId
from clearing.signing.keys import PrivateKey
from clearing.v1 import entry_pb2, instruction_pb2, presentment_pb2, settlement_pb2
from merchant_gateway.client.gateway_channel import GatewayChannel
from merchant_gateway.client.log_export import LogExporter
from settlement.auditing.audit import AuditReport, verify_export
from settlement.auditing.export_files import AuditDifference
from tests.integration.alliance import ORIGIN, Alliance, founded


@pytest.fixture(scope="module")
def audited(module_database_url: str) -> Iterator[Alliance]:
    """An alliance with two closed and proposed months, refunds, refusals and a revoked key among them."""
    with founded(module_database_url) as alliance:
        alliance.admit("bakery", "cinema", "pharmacy")
        cards = [alliance.open_card("bakery") for _ in range(3)]
        for number, card in enumerate(cards * 100):
            merchant = ("bakery", "cinema", "pharmacy")[number % 3]
            alliance.earn(merchant, card, 10 + number, reference=f"earn-{number}")
        alliance.burn("cinema", cards[0], 700, reference="burn-1")
        alliance.burn("cinema", cards[0], 10**8)
        alliance.refund("bakery", cards[0], "earn-0")
        alliance.travel("2026-02-03 10:00:00")
        settle(alliance, "2026-01")
        alliance.refund("cinema", cards[0], "burn-1", 200)
        alliance.burn("pharmacy", cards[1], 500)
        alliance.travel("2026-03-01 00:00:00")
        settle(alliance, "2026-02")
        yield alliance


def settle(alliance: Alliance, window: str) -> None:
    alliance.accept(close_window=instruction_pb2.CloseWindow(window=window))
    alliance.accept(propose_settlement=proposal(alliance, window))


def proposal(alliance: Alliance, window: str) -> instruction_pb2.ProposeSettlement:
    return alliance.settlement.GetSettlement(
        settlement_pb2.GetSettlementRequest(window=window), metadata=alliance.authorization(alliance.operator)
    ).proposal


def payments_of(
    alliance: Alliance, window: str, key: PrivateKey | None = None, merchant: str = ""
) -> settlement_pb2.GetPaymentsResponse:
    """What this key's owner is given; the operator without one."""
    return alliance.settlement.GetPayments(
        settlement_pb2.GetPaymentsRequest(window=window, merchant=merchant),
        metadata=alliance.authorization(key or alliance.operator),
    )


def export(alliance: Alliance, folder: Path) -> Path:
    alliance.export(folder)
    return folder


@pytest.fixture(scope="module")
def exported(audited: Alliance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(audited, tmp_path_factory.mktemp("export"))


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def audit(alliance: Alliance, folder: Path) -> AuditReport:
    return verify_export(folder, alliance.log_key.verifier)


def test_an_export_verifies_with_nothing_but_the_folder_and_the_key(audited: Alliance, exported: Path) -> None:
    report = audit(audited, exported)
    assert report.windows_proposed == ("2026-01", "2026-02")
    assert report.statement_digests == 2 * 4
    assert report.statement_files == 2 * 4
    assert report.cards == 3
    assert report.entries == report.checkpoint.size > 300


def places_of(content: bytes) -> list[int]:
    """Some bytes of a file, the first and the last among them."""
    return sorted({0, 1, len(content) // 3, len(content) // 2, len(content) - 1})


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_a_flipped_byte_in_an_entry_is_caught_naming_file_and_entry(
    audited: Alliance, exported: Path, copy: Path
) -> None:
    for number, name in enumerate(("tile/entries/000", next_partial(exported, "tile/entries/001.p"))):
        content = (exported / name).read_bytes()
        for place in places_of(content):
            (copy / name).write_bytes(flipped(content, place))
            with pytest.raises(FolderError) as raised:
                audit(audited, copy)
            assert (raised.value.file, raised.value.entry_index) == (name, number * 256 + entry_at(content, place))
            assert name in str(raised.value)
        (copy / name).write_bytes(content)


def test_a_flipped_byte_in_a_hash_tile_is_caught_naming_tile_and_entry(
    audited: Alliance, exported: Path, copy: Path
) -> None:
    tiles = ("tile/0/000", next_partial(exported, "tile/0/001.p"), next_partial(exported, "tile/1/000.p"))
    for name, first, entries_a_hash in zip(tiles, (0, 256, 0), (1, 1, 256), strict=True):
        content = (exported / name).read_bytes()
        for place in places_of(content):
            (copy / name).write_bytes(flipped(content, place))
            with pytest.raises(FolderError) as raised:
                audit(audited, copy)
            assert raised.value.entry_index == first + place // 32 * entries_a_hash
            assert name in str(raised.value)
        (copy / name).write_bytes(content)


def test_a_flipped_byte_in_the_checkpoint_or_a_statement_is_caught_naming_the_file(
    audited: Alliance, exported: Path, copy: Path
) -> None:
    statements = [path.relative_to(exported).as_posix() for path in exported.glob("statements/*/*")]
    for name in ("checkpoint", *statements):
        content = (exported / name).read_bytes()
        for place in places_of(content):
            (copy / name).write_bytes(flipped(content, place))
            with pytest.raises(ClearingError, match=re.escape(name)):
                audit(audited, copy)
        (copy / name).write_bytes(content)
    audit(audited, copy)


def next_partial(exported: Path, folder: str) -> str:
    """The one file of a partial tile's folder."""
    (path,) = (exported / folder).iterdir()
    return path.relative_to(exported).as_posix()


def entry_at(bundle: bytes, place: int) -> int:
    """Which entry of a bundle, from 0, the byte at this place belongs to; its length stands in front of it."""
    end = 0
    for number, entry in enumerate(bundle_entries(bundle)):
        end += 2 + len(entry)
        if place < end:
            return number
    raise AssertionError("the place lies in the bundle")


def test_two_bundles_in_each_others_place_are_told_from_an_altered_entry(
    audited: Alliance, exported: Path, copy: Path
) -> None:
    first, second = (copy / name for name in ("tile/entries/000", next_partial(exported, "tile/entries/001.p")))
    swapped = first.read_bytes(), second.read_bytes()
    second.write_bytes(swapped[0])
    first.write_bytes(swapped[1])
    with pytest.raises(
        FolderError,
        match="from entry 0 on, nothing in tile/entries/000 hashes to a leaf in tile/0/000; one of the two files "
        "stands in another's place",
    ):
        audit(audited, copy)


# ---- what is missing, and what does not belong ----


def test_every_missing_file_is_caught_and_named(audited: Alliance, exported: Path, copy: Path) -> None:
    names = sorted(path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file())
    assert len(names) == 1 + 2 + 3 + 2 * 4, "checkpoint, bundles, tiles, statements of two months"
    for name in names:
        (copy / name).rename(copy / "aside")
        with pytest.raises(ClearingError, match=f"{re.escape(name)} is missing"):
            audit(audited, copy)
        (copy / "aside").rename(copy / name)
    audit(audited, copy)


@pytest.mark.parametrize(
    "name",
    [
        "tile/entries/000.p/7",
        "tile/entries/002",
        "tile/0/000.p/7",
        "tile/2/000.p/1",
        "tile/notes.txt",
        "statements/2026-03/alliance.json",
        "statements/2026-01/merchant-florist.json",
        "statements/2026-01/alliance.xlsx",
        "statements/alliance.json",
    ],
)
def test_a_file_that_does_not_belong_is_caught_and_named(audited: Alliance, copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_bytes(b"whatever")
    with pytest.raises(AuditDifference, match=re.escape(name)):
        audit(audited, copy)


def test_what_lies_beside_the_exports_own_folders_is_not_looked_at(audited: Alliance, copy: Path) -> None:
    (copy / "my notes.txt").write_text("checked on Monday")
    (copy / "checkpoint.old").write_text("nothing")
    assert audit(audited, copy).statement_files == 2 * 4


def test_a_settlement_proposed_while_the_log_is_exported_is_left_to_the_next_export(
    database_url: str, tmp_path: Path
) -> None:
    with founded(database_url) as alliance:
        alliance.admit("bakery", "cinema")
        alliance.travel("2026-02-01 00:00:00")
        settled: list[tuple[int, int]] = []

        def settle_once(done: int, total: int) -> None:
            if not settled:
                settled.append((done, total))
                settle(alliance, "2026-01")

        with GatewayChannel(alliance.gateway.server.address, ORIGIN) as channel:
            exporter = LogExporter(channel, alliance.log_key.verifier, alliance.operator)
            assert exporter.export(tmp_path, settle_once).statement_files == 0
            assert settled
            assert audit(alliance, tmp_path).statement_files == 0
            assert exporter.export(tmp_path).statement_files == 3
        assert audit(alliance, tmp_path).statement_files == 3


def test_a_log_without_its_statements_is_in_order_only_where_that_is_asked_for(audited: Alliance, copy: Path) -> None:
    shutil.rmtree(copy / "statements")
    with pytest.raises(AuditDifference, match=r"statements/2026-01/alliance\.json is missing.*--without-statements"):
        audit(audited, copy)
    report = verify_export(copy, audited.log_key.verifier, with_statements=False)
    assert report.statement_files is None
    assert report.statement_digests == 2 * 4


def test_a_dropped_last_entry_under_the_old_checkpoint_is_caught(
    audited: Alliance, exported: Path, tmp_path: Path
) -> None:
    entries = list(read_log_folder(exported, audited.log_key.verifier).entries())
    shorter = tmp_path / "shorter"
    write_log(shorter, entries[:-1], audited.log_key)
    shutil.copy(exported / "checkpoint", shorter / "checkpoint")
    with pytest.raises(ClearingError, match=r"entry|entries|tile"):
        audit(audited, shorter)


def test_a_checkpoint_signed_by_another_key_is_caught(audited: Alliance, copy: Path) -> None:
    checkpoint = open_checkpoint((copy / "checkpoint").read_text(), audited.log_key.verifier)
    other = Signer(ORIGIN, PrivateKey.generate().seed)
    (copy / "checkpoint").write_text(sign_checkpoint(checkpoint, other))
    with pytest.raises(ClearingError, match="sign"):
        audit(audited, copy)


def write_log(folder: Path, entries: list[bytes], signer: Signer) -> None:
    """A log that the alliance's own key signed, whatever is in it: what a dishonest operator could hand out."""
    checkpoint = Checkpoint(signer.verifier.name, len(entries), root([leaf_hash(entry) for entry in entries]))
    write_log_folder(folder, entries, sign_checkpoint(checkpoint, signer), signer.verifier)


def altered_entry(entries: list[bytes], index: int, **result: int) -> bytes:
    entry = entry_pb2.Entry.FromString(entries[index])
    for name, value in result.items():
        setattr(entry.transaction_results[0], name, value)
    return entry.SerializeToString()


def index_of_an_earn(entries: list[bytes]) -> int:
    for index, leaf in enumerate(entries):
        payload = entry_pb2.Entry.FromString(leaf).envelope.payload
        if b"earn-7" in payload:
            return index
    raise AssertionError("the log holds earns")


def test_points_altered_by_the_operator_and_rehashed_are_caught(
    audited: Alliance, exported: Path, tmp_path: Path
) -> None:
    entries = list(read_log_folder(exported, audited.log_key.verifier).entries())
    index = index_of_an_earn(entries)
    entry = entry_pb2.Entry.FromString(entries[index])
    presentment = presentment_pb2.Presentment.FromString(entry.envelope.payload)
    presentment.transactions[0].earn.points += 1
    entry.envelope.payload = presentment.SerializeToString()
    entry.transaction_results[0].points += 1
    entries[index] = entry.SerializeToString()
    write_log(tmp_path / "forged", entries, audited.log_key)
    with pytest.raises(ClearingError, match=f"entry {index}: .*signature"):
        audit(audited, tmp_path / "forged")


@pytest.mark.parametrize("field", ["points", "points_available", "points_owed"])
def test_an_outcome_altered_by_the_operator_and_rehashed_is_caught(
    audited: Alliance, exported: Path, tmp_path: Path, field: str
) -> None:
    entries = list(read_log_folder(exported, audited.log_key.verifier).entries())
    index = index_of_an_earn(entries)
    entries[index] = altered_entry(entries, index, **{field: 999_999})
    write_log(tmp_path / "forged", entries, audited.log_key)
    with pytest.raises(ClearingError, match=f"entry {index}: transaction 0: the log says .*{field}=999999"):
        audit(audited, tmp_path / "forged")


@pytest.mark.parametrize("field", ["last_instruction_index", "month_first_index"])
def test_an_entry_that_names_others_wrongly_is_caught(
    audited: Alliance, exported: Path, tmp_path: Path, field: str
) -> None:
    """A gateway that has lost a revocation must not write on as if there had been none."""
    entries = list(read_log_folder(exported, audited.log_key.verifier).entries())
    index = index_of_an_earn(entries)
    entry = entry_pb2.Entry.FromString(entries[index])
    setattr(entry, field, getattr(entry, field) + 1)
    entries[index] = entry.SerializeToString()
    write_log(tmp_path / "forged", entries, audited.log_key)
    with pytest.raises(ClearingError, match=f"entry {index}: the log says .*{field}={getattr(entry, field)}"):
        audit(audited, tmp_path / "forged")


def test_an_entry_left_out_or_doubled_by_the_operator_is_caught(
    audited: Alliance, exported: Path, tmp_path: Path
) -> None:
    entries = list(read_log_folder(exported, audited.log_key.verifier).entries())
    index = index_of_an_earn(entries)
    write_log(tmp_path / "left-out", entries[:index] + entries[index + 1 :], audited.log_key)
    with pytest.raises(ClearingError, match=r"entry \d+: "):
        audit(audited, tmp_path / "left-out")
    write_log(tmp_path / "doubled", entries[: index + 1] + entries[index:], audited.log_key)
    with pytest.raises(ClearingError, match=f"entry {index + 1}: its envelope was decided in entry {index} already"):
        audit(audited, tmp_path / "doubled")


def test_a_log_backdated_by_the_operator_and_rehashed_is_caught(database_url: str, tmp_path: Path) -> None:
    """Under the system's clock nothing else bounds ``accepted_at``, and it decides windows, prices and terms."""
    with founded(database_url, clock="CLOCK_SYSTEM") as alliance:
        alliance.admit("bakery")
        honest = export(alliance, tmp_path / "export")
        audit(alliance, honest)
        entries = []
        for leaf in read_log_folder(honest, alliance.log_key.verifier).entries():
            entry = entry_pb2.Entry.FromString(leaf)
            entry.accepted_at.seconds -= 301
            entries.append(entry.SerializeToString(deterministic=True))
        write_log(tmp_path / "forged", entries, alliance.log_key)
        with pytest.raises(ClearingError, match=r"entry 0: issued_at is .*after the ledger's time"):
            audit(alliance, tmp_path / "forged")


def test_a_statement_file_that_differs_from_the_logged_digest_is_caught(audited: Alliance, copy: Path) -> None:
    statement = copy / "statements" / "2026-01" / "merchant-cinema.json"
    statement.write_bytes(statement.read_bytes().replace(b"cinema", b"cinemb", 1))
    with pytest.raises(ClearingError, match=r"merchant-cinema\.json: has the digest"):
        audit(audited, copy)


def refused_settlement(alliance: Alliance, **action: Any) -> Outcome:
    result = alliance.instruct(**action).instruction_result
    assert result is not None
    return result.outcome


def test_nobody_can_propose_or_approve_what_the_ledger_does_not_come_to(database_url: str, tmp_path: Path) -> None:
    """One finance officer could once log any payment as a proposal, approve it, and end every later audit there."""
    with founded(database_url) as alliance:
        alliance.admit("bakery", "cinema", "evil")
        alliance.earn("bakery", alliance.open_card("bakery"), 100)
        alliance.travel("2026-02-01 00:00:00")
        alliance.accept(close_window=instruction_pb2.CloseWindow(window="2026-01"))
        right = proposal(alliance, "2026-01")
        false = instruction_pb2.ProposeSettlement()
        false.CopyFrom(right)
        leaf = payment_leaf("bakery", "evil", 10**15, bytes(32))
        false.payments, false.payments_root, false.payments_minor = 1, root([leaf_hash(leaf)]), 10**15
        assert refused_settlement(alliance, propose_settlement=false) is Outcome.SETTLEMENT_DIFFERS
        approval = instruction_pb2.ApproveSettlement(proposal=false)
        assert refused_settlement(alliance, approve_settlement=approval) is Outcome.SETTLEMENT_NOT_PROPOSED
        alliance.accept(propose_settlement=right)
        assert (
            refused_settlement(alliance, approve_settlement=approval, signers=[alliance.second_operator])
            is Outcome.PROPOSAL_DIFFERS
        )
        alliance.accept(
            approve_settlement=instruction_pb2.ApproveSettlement(proposal=right), signers=[alliance.second_operator]
        )
        report = audit(alliance, export(alliance, tmp_path / "export"))
        assert report.outcomes["ProposeSettlement", Outcome.SETTLEMENT_DIFFERS] == 1
        assert report.windows_proposed == ("2026-01",)


def test_a_log_whose_writer_did_not_judge_is_caught_at_the_proposal(database_url: str, tmp_path: Path) -> None:
    with founded(database_url) as alliance:
        alliance.admit("bakery", "cinema")
        alliance.travel("2026-02-01 00:00:00")
        alliance.accept(close_window=instruction_pb2.CloseWindow(window="2026-01"))
        false = proposal(alliance, "2026-01")
        false.alliance_statement_digest = b"\1" * 32
        alliance.gateway.settlements._known[WindowId("2026-01")] = decode_proposal(false)
        proposed = alliance.log_size()
        alliance.accept(propose_settlement=false)
        with pytest.raises(ClearingError, match=f"entry {proposed}: the log says .*ACCEPTED.*SETTLEMENT_DIFFERS"):
            audit(alliance, export(alliance, tmp_path / "export"))
