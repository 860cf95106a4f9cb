"""What a client remembers: receipts in a file, and the log's checkpoints, so that a fork does not go unnoticed."""

from __future__ import annotations

import datetime
import sqlite3
import subprocess
from pathlib import Path

import pytest

from clearing.calendar import instant_of
from clearing.card_token import token_of_bytes
from clearing.log import merkle
from clearing.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from clearing.log.note import Signer
from clearing.model import MerchantId, Reference
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.merchant_client import sign_presentment
from merchant_gateway.client.receipt_check import ForkedLogError
from merchant_gateway.client.receipt_store import ReceiptStore, ReceiptStoreError
from merchant_gateway.client.seen_log import SeenCheckpoint, SeenLog
from merchant_gateway.client.transaction_receipt import TransactionReceipt, check_submitted
from merchant_gateway.client.transactions import earn, open_card
from tests.merchant_gateway.client.rules_alliance import IDENTITY, LOG_KEY, ORIGIN, RulesAlliance, directory_of, key_of

BAKERY = MerchantId("bakery")
CARD = token_of_bytes(bytes(16))
NOON = datetime.datetime(2017, 1, 2, 12, tzinfo=datetime.UTC)
LEAVES = [merkle.leaf_hash(b"leaf %d" % number) for number in range(40)]


def seen(size: int, leaves: list[bytes] = LEAVES) -> SeenCheckpoint:
    checkpoint = Checkpoint(ORIGIN, size, merkle.root(leaves[:size]))
    return SeenCheckpoint(checkpoint, sign_checkpoint(checkpoint, LOG_KEY))


def presented(reference: str, points: int) -> Envelope:
    transactions = [
        open_card(f"open-{reference}", CARD, "bakery-1", NOON),
        earn(reference, CARD, "bakery-1", points, NOON),
    ]
    return sign_presentment(IDENTITY, BAKERY, key_of(BAKERY), transactions, presented_at=instant_of(NOON))


def exchanged(alliance: RulesAlliance, *envelopes: Envelope) -> list[tuple[Checkpoint, TransactionReceipt]]:
    checked = [
        check_submitted(envelope, receipt, LOG_KEY.verifier)
        for envelope, receipt in zip(envelopes, alliance.answer(envelopes), strict=True)
    ]
    return [(checkpoint, each) for checkpoint, receipts in checked for each in receipts]


@pytest.fixture
def alliance() -> RulesAlliance:
    return RulesAlliance(directory_of({"bakery-1": "bakery"}))


# ---- the log ----


def test_answers_may_overtake_each_other() -> None:
    log = SeenLog()
    before = log.newest
    log.see(*seen(9), before)
    log.see(*seen(7), before)
    assert log.newest == seen(9)


def test_a_log_that_is_smaller_than_before_the_call_has_shrunk() -> None:
    log = SeenLog()
    log.see(*seen(9))
    with pytest.raises(ForkedLogError, match="shrank: it had 9 entries before the call and has 8") as raised:
        log.see(*seen(8), log.newest)
    assert raised.value.evidence == (seen(9).note, seen(8).note)


@pytest.mark.parametrize("later_sizes", [(), (12,), (12, 15)])
def test_two_roots_for_one_size_are_a_fork_whenever_they_come(later_sizes: tuple[int, ...]) -> None:
    log = SeenLog()
    log.see(*seen(9))
    for size in later_sizes:
        log.see(*seen(size))
    other = seen(9, [merkle.leaf_hash(b"rewritten"), *LEAVES[1:]])
    with pytest.raises(ForkedLogError, match="two logs of 9 entries") as raised:
        log.see(*other)
    assert raised.value.evidence == (seen(9).note, other.note)


def test_a_consistency_proof_moves_what_is_proven() -> None:
    log = SeenLog()
    log.see(*seen(5))
    log.see(*seen(9))
    assert log.proven == seen(5)
    log.prove(*seen(20), merkle.consistency_path(LEAVES, 5, 20))
    assert log.proven == seen(20)


def test_a_log_that_was_rewritten_cannot_be_proven_consistent() -> None:
    rewritten = [merkle.leaf_hash(b"rewritten"), *LEAVES[1:]]
    log = SeenLog()
    log.see(*seen(5))
    with pytest.raises(ForkedLogError, match="rewritten"):
        log.prove(*seen(20, rewritten), merkle.consistency_path(rewritten, 5, 20))
    assert log.proven == seen(5)


# ---- receipts in a file ----


def test_a_kept_receipt_is_found_again_in_another_run(tmp_path: Path, alliance: RulesAlliance) -> None:
    answers = exchanged(alliance, presented("e1", 10))
    with ReceiptStore(tmp_path / "receipts.sqlite", LOG_KEY.verifier) as store:
        store.keep(answers)
    with ReceiptStore(tmp_path / "receipts.sqlite", LOG_KEY.verifier) as store:
        assert store.find(BAKERY, Reference("e1")) == answers[1][1]
        assert store.find(BAKERY, Reference("e2")) is None
        assert store.find(MerchantId("cinema"), Reference("e1")) is None
        assert store.newest_checkpoint() == answers[0][1].receipt.checkpoint
        assert store.count() == 2


def test_a_receipt_that_comes_twice_is_kept_once_under_its_first_checkpoint(
    tmp_path: Path, alliance: RulesAlliance
) -> None:
    first = exchanged(alliance, presented("e1", 10))
    alliance.submit([presented("e2", 10)])
    again = exchanged(alliance, presented("e1", 10))
    with ReceiptStore(tmp_path / "receipts.sqlite", LOG_KEY.verifier) as store:
        store.keep(first)
        store.keep(again)
        found = store.find(BAKERY, Reference("e1"))
        assert found is not None
        assert found.receipt.checkpoint == first[1][1].receipt.checkpoint
        newest = store.newest_checkpoint()
        assert newest is not None
        assert open_checkpoint(newest, LOG_KEY.verifier).size == 3
        assert store.count() == 2


def test_a_second_root_of_a_size_is_a_fork_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    one, other = (RulesAlliance(directory_of({"bakery-1": "bakery"})) for _ in range(2))
    with ReceiptStore(tmp_path / "receipts.sqlite", LOG_KEY.verifier) as store:
        store.keep(exchanged(one, presented("e1", 10)))
        with pytest.raises(ForkedLogError, match="two logs of 2 entries"):
            store.keep(exchanged(other, presented("e2", 10)))
        assert store.find(BAKERY, Reference("e2")) is None


def test_another_entry_at_a_kept_place_is_a_fork(tmp_path: Path) -> None:
    one, other = (RulesAlliance(directory_of({"bakery-1": "bakery"})) for _ in range(2))
    with ReceiptStore(tmp_path / "receipts.sqlite", LOG_KEY.verifier) as store:
        store.keep(exchanged(one, presented("e1", 10)))
        both = exchanged(other, presented("e2", 10), presented("e3", 10))
        with pytest.raises(ForkedLogError, match="two different entries 1") as raised:
            store.keep(both)
        assert len(raised.value.evidence) == 2


def test_a_full_disk_is_named_and_what_was_kept_stays(tmp_path: Path, alliance: RulesAlliance) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        with ReceiptStore(disk / "receipts.sqlite", LOG_KEY.verifier) as store:
            kept, said = 0, ""
            answers = exchanged(alliance, presented("e0", 1))
            while not said:
                try:
                    store.keep(answers)
                except ReceiptStoreError as error:
                    said = str(error)
                else:
                    kept += 1
                    answers = exchanged(alliance, presented(f"e{kept}", 1))
            assert "there is no room to keep receipts" in said
            assert "send the same again: what was decided is answered with the same receipts" in said
            assert store.count() == 2 * kept > 0
            assert all(store.find(BAKERY, Reference(f"e{number}")) is not None for number in range(kept))
            assert store.find(BAKERY, Reference(f"e{kept}")) is None
            subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
            store.keep(answers)
            assert store.count() == 2 * kept + 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_belongs_to_one_log(tmp_path: Path) -> None:
    ReceiptStore(tmp_path / "receipts.sqlite", LOG_KEY.verifier).close()
    with pytest.raises(ReceiptStoreError, match="one file a log"):
        ReceiptStore(tmp_path / "receipts.sqlite", Signer("clearing.example/other", bytes(32)).verifier)


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but precious\n" * 50)
    with pytest.raises(ReceiptStoreError, match=r"notes\.txt cannot be used"):
        ReceiptStore(text, LOG_KEY.verifier)
    assert text.read_text().startswith("not a database")
    database = tmp_path / "other.sqlite"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    with pytest.raises(ReceiptStoreError, match="not a file of receipts"):
        ReceiptStore(database, LOG_KEY.verifier)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReceiptStoreError, match="absent"):
        ReceiptStore(tmp_path / "absent" / "receipts.sqlite", LOG_KEY.verifier)
