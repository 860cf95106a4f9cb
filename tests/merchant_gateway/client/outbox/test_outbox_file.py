"""The outbox's file: full, damaged, somebody else's, held; and the lock beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearing.card_token import random_token
from clearing.contract.log_identity import LogIdentity
from clearing.log.note import Signer
from clearing.model import MerchantId
from clearing.signing.keys import PrivateKey
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.outbox import Outbox, OutboxDamagedError, OutboxError, OutboxFullError
from merchant_gateway.client.outbox.drain_lock import DrainLock
from merchant_gateway.client.receipt_store import ReceiptStore
from merchant_gateway.client.transactions import earn
from tests.integration.alliance import ORIGIN
from tests.merchant_gateway.client.outbox.outbox_scene import BAKERY, NOWHERE, STORE, now, queued
from tests.waiting import PATIENCE_SECONDS

LOG_KEY = Signer(ORIGIN, bytes(32))
KEY = PrivateKey(bytes(32))


def client(merchant: MerchantId = BAKERY, log_key: Signer = LOG_KEY, log_id: bytes = bytes(16)) -> MerchantClient:
    return MerchantClient(NOWHERE, LogIdentity(log_key.verifier, log_id), merchant, KEY)


def open_outbox(path: Path, a_client: MerchantClient | None = None) -> Outbox:
    return Outbox(path, a_client or client(), patience_seconds=0.0)


def sell(outbox: Outbox, reference: str) -> None:
    queued(outbox.sell(earn(reference, random_token(), STORE, 1, now())))


def sell_all(outbox: Outbox, numbers: range) -> None:
    for number in numbers:
        sell(outbox, f"e{number}")


def fill(path: Path, sales: int) -> None:
    with open_outbox(path) as outbox:
        sell_all(outbox, range(sales))


FILL_UNTIL_REFUSED = """
import resource, sys
from pathlib import Path
from merchant_gateway.client.outbox import OutboxError
from tests.merchant_gateway.client.outbox.test_outbox_file import open_outbox, sell
path, bytes_max = Path(sys.argv[1]), int(sys.argv[2])
with open_outbox(path) as outbox:
    if bytes_max:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))
    sold = 0
    try:
        while sold < 5_000:
            sell(outbox, f"e{sold}")
            sold += 1
    except OutboxError as error:
        print(sold, type(error).__name__, error)
"""


def fill_until_refused(path: Path, bytes_max: int) -> tuple[int, str]:
    """How many sales went in, and how the next one was refused."""
    command = [sys.executable, "-c", FILL_UNTIL_REFUSED, str(path), str(bytes_max)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True, cwd=Path(__file__).parents[4]
    )
    sold, _, text = done.stdout.partition(" ")
    return int(sold), text


def test_a_file_that_may_not_grow_is_named_and_what_was_queued_stays(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    sold, text = fill_until_refused(path, 200_000)
    assert text.startswith("OutboxError ")
    assert str(path) in text
    assert "same reference" in text
    with open_outbox(path) as outbox:
        assert outbox.backlog().queued == sold > 0
        sell(outbox, f"e{sold}")


def test_a_full_disk_is_named_and_what_was_queued_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        sold, text = fill_until_refused(disk / "outbox.sqlite", 0)
        assert text.startswith("OutboxFullError there is no room to write")
        assert "free space" in text
        with open_outbox(disk / "outbox.sqlite") as outbox:
            assert outbox.backlog().queued == sold > 0
            with pytest.raises(OutboxFullError, match="nothing was recorded"):
                sell_all(outbox, range(sold, sold + 100))
            subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
            sell(outbox, "room-again")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"the till's shopping list, and more of it than a header has " * 100)
    with pytest.raises(OutboxDamagedError, match=r"outbox\.sqlite is damaged: file is not a database; keep it"):
        open_outbox(path)


def test_a_damaged_file_is_named_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    fill(path, 200)
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 3 : 4096 * 12] = bytes(4096 * 9)
    path.write_bytes(damaged)
    with pytest.raises(OutboxDamagedError, match=r"is damaged: .* it may hold sales that were not sent yet"):
        open_outbox(path)


def test_every_sale_is_on_the_disk_before_sell_returns(tmp_path: Path) -> None:
    """What is copied away under the open outbox, as a power cut would leave it, holds the sale."""
    path, copy = tmp_path / "outbox.sqlite", tmp_path / "copy" / "outbox.sqlite"
    copy.parent.mkdir()
    with open_outbox(path) as outbox:
        for number in range(3):
            sell(outbox, f"e{number}")
            for suffix in ("", "-wal"):
                copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
            with open_outbox(copy) as after_the_cut:
                assert after_the_cut.backlog().queued == number + 1
            for left in copy.parent.iterdir():
                left.unlink()


def test_a_file_belongs_to_one_merchant_and_one_log(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    fill(path, 1)
    other_log = Signer("clearing.example/other", bytes(32))
    founded_anew = client(log_id=bytes(15) + b"\x01")
    for other in (client(MerchantId("cinema")), client(log_key=other_log), founded_anew):
        with pytest.raises(OutboxError, match=r"holds sales of bakery for the log 0{32} of clearing\.example/test"):
            open_outbox(path, other)


def test_another_kind_of_database_and_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with ReceiptStore(tmp_path / "receipts.sqlite", LOG_KEY.verifier):
        pass
    path = tmp_path / "receipts.sqlite"
    with pytest.raises(OutboxError, match="is not an outbox of this version"):
        Outbox(path, client())
    with pytest.raises(OutboxError, match=r"nowhere.*cannot be used: unable to open"):
        open_outbox(tmp_path / "nowhere" / "outbox.sqlite")


def test_one_sends_at_a_time_over_processes_and_the_dead_hold_nothing(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    holder = (
        "import sys, time; from pathlib import Path; from merchant_gateway.client.outbox.drain_lock import DrainLock\n"
        "with DrainLock(Path(sys.argv[1])).held(time.monotonic() + 60) as held:\n"
        "    print(held, flush=True)\n"
        "    time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        lock = DrainLock(path)
        with lock.held(time.monotonic() + 0.05) as held:
            assert not held
        with open_outbox(path) as outbox:
            sell(outbox, "e1")
            report = outbox.drain(0.05)
            assert (report.stopped_by, report.backlog.queued) == (None, 1)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    with lock.held(time.monotonic() + PATIENCE_SECONDS) as held:
        assert held
        with DrainLock(path).held(time.monotonic() + 0.05) as held_again:
            assert not held_again
