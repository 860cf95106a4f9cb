"""Backup and restore as docs/operations.md describes them: pg_dump, a fresh database, and the writer takes it up.

A restored backup is complete or it is noticed: whoever holds a newer checkpoint sees that the log shrank or forked.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from clearing.log.checkpoint import open_checkpoint
from clearing.log.folder import FolderError
from clearing.model import MerchantId, Outcome
from clearing.postgres.database import open_engine, parse_database_url
from clearing.postgres.embedded.cluster import binaries_directory
from clearing.postgres.embedded.server import EmbeddedPostgres
from clearing.postgres.migration import migrate
from clearing.v1 import presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.receipt_check import ForkedLogError
from merchant_gateway.client.receipt_store import ReceiptStore
from settlement.auditing.audit import verify_export
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import balances, complaints, log_size
from tests.integration.tills import at_work


def postgres_command(name: str, url: str, *arguments: str) -> None:
    """One of PostgreSQL's commands on the database of this URL."""
    parsed = parse_database_url(url)
    where = {"PGHOST": str(parsed.query["host"]), "PGPORT": str(parsed.query["port"]), "PGUSER": str(parsed.username)}
    done = subprocess.run(
        [binaries_directory() / name, "--dbname", str(parsed.database), *arguments],
        env=os.environ | where,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def back_up(alliance: Alliance, file: Path) -> Path:
    """A backup of a database in use."""
    url = alliance.engine.url.render_as_string(hide_password=False)
    postgres_command("pg_dump", url, "--format=custom", "--no-owner", "--file", str(file))
    return file


@contextmanager
def restored(alliance: Alliance, postgres: EmbeddedPostgres, file: Path) -> Iterator[None]:
    """Within the block the alliance is served from this backup, in a fresh database; the old one is out of service."""
    name = f"restored_{file.stem}"
    alliance.close()
    url = postgres.create_database(name)
    postgres_command("pg_restore", url, "--no-owner", "--exit-on-error", str(file))
    lost, alliance.engine = alliance.engine, open_engine(url)
    migrate(alliance.engine)
    try:
        alliance.open()
        yield
        alliance.close()
    finally:
        alliance.engine.dispose()
        alliance.engine = lost
        postgres.drop_database(name)


def test_the_documented_roles_suffice_to_serve_and_to_back_up(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """The very SQL of docs/operations.md: the gateway's role is no superuser, and the backup's may only read."""
    document = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    (block,) = re.findall(r"^```sql$(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    administrator = open_engine(postgres.url("postgres")).execution_options(isolation_level="AUTOCOMMIT")
    role = f"roles_{tmp_path.name}".replace("-", "_")[:40]
    with administrator.connect() as connection:
        for statement in block.replace("clearing", role).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    try:
        url = make_url(postgres.url(role))
        with founded(url.set(username=role).render_as_string()) as alliance:
            alliance.admit("bakery")
            card = alliance.open_card("bakery")
            postgres_command(
                "pg_dump",
                url.set(username=f"{role}_backup").render_as_string(),
                *("--format=custom", "--no-owner", "--file", str(tmp_path / "by_role.dump")),
            )
            alliance.earn("bakery", card, 1)
    finally:
        postgres.drop_database(role)
        with administrator.connect() as connection:
            connection.exec_driver_sql(f"DROP ROLE {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}_backup")
        administrator.dispose()


def earns(alliance: Alliance, card: str, count: int) -> list[Envelope]:
    return [
        alliance.envelope(
            alliance.presentment("bakery", alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=10)))
        )
        for _ in range(count)
    ]


@contextmanager
def till(alliance: Alliance, receipts: Path) -> Iterator[MerchantClient]:
    """The bakery's client with its receipts, as it is after a restart too."""
    verifier = alliance.log_key.verifier
    with (
        ReceiptStore(receipts, verifier) as store,
        MerchantClient(
            alliance.gateway.server.address,
            alliance.identity,
            MerchantId("bakery"),
            alliance.keys["bakery"],
            receipts=store,
        ) as client,
    ):
        yield client


def test_a_restored_backup_is_taken_up_verifies_and_answers_old_envelopes_with_the_original_receipts(
    alliance: Alliance, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    card = alliance.open_card("bakery")
    envelopes = earns(alliance, card, 300)
    originals = alliance.submit(*envelopes)
    alliance.burn("cinema", card, 500)
    alliance.burn("cinema", card, 1_000_000)
    size, held = log_size(alliance.engine), balances(alliance.engine)
    backup = back_up(alliance, tmp_path / "whole.dump")

    with restored(alliance, postgres, backup):
        assert (log_size(alliance.engine), balances(alliance.engine)) == (size, held)
        again = alliance.submit(*envelopes)
        assert [(receipt.index, receipt.entry) for receipt in again] == [(each.index, each.entry) for each in originals]
        assert all(receipt.replayed for receipt in again)
        assert alliance.log_size() == size
        assert alliance.earn("bakery", card, 7).points_available == 300 * 10 - 500 + 7
        alliance.export(tmp_path / "export")
        report = verify_export(tmp_path / "export", alliance.log_key.verifier)
        assert report.checkpoint.size == size + 1
        assert complaints(alliance.engine) == []


def test_a_backup_taken_under_load_holds_a_whole_number_of_batches(
    alliance: Alliance, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with at_work(alliance) as tills:
        tills.wait_for_answers(50)
        answered_before = list(tills.answered)
        backup = back_up(alliance, tmp_path / "busy.dump")
        tills.wait_for_answers(20)
    with restored(alliance, postgres, backup):
        size = log_size(alliance.engine)
        assert complaints(alliance.engine) == []
        for envelope, receipt in answered_before:
            (again,) = alliance.submit(envelope)
            assert (again.index, again.entry, again.replayed) == (receipt.index, receipt.entry, True)
        assert log_size(alliance.engine) == size


def test_an_older_backup_is_noticed_by_whoever_holds_a_newer_checkpoint_even_when_the_log_has_grown_past_it(
    alliance: Alliance, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    card = alliance.open_card("bakery")
    alliance.submit(*earns(alliance, card, 5))
    backup = back_up(alliance, tmp_path / "older.dump")
    size = log_size(alliance.engine)
    lost = earns(alliance, card, 4)
    with till(alliance, tmp_path / "receipts.sqlite") as client:
        assert [each.outcome for (each,) in client.submit_signed(lost)] == [Outcome.ACCEPTED] * 4
    alliance.export(tmp_path / "export")
    newest = alliance.gateway.writer.head
    assert newest is not None

    with restored(alliance, postgres, backup):
        assert log_size(alliance.engine) == size
        with pytest.raises(FolderError, match="a later export of"):
            alliance.export(tmp_path / "export")
        with till(alliance, tmp_path / "receipts.sqlite") as client:
            with pytest.raises(ForkedLogError, match=r"the log shrank") as raised:
                client.submit_signed(earns(alliance, card, 1))
            # The two signed notes are the evidence: both are the alliance's own.
            sizes = [open_checkpoint(note, alliance.log_key.verifier).size for note in raised.value.evidence]
            assert sizes == [newest.size, size + 1]
            with pytest.raises(ForkedLogError, match="the log shrank"):
                client.check_log()
        alliance.submit(*earns(alliance, card, 10))
        assert log_size(alliance.engine) > newest.size
        with pytest.raises(FolderError, match="the log was rewritten"):
            alliance.export(tmp_path / "export")
        with till(alliance, tmp_path / "receipts.sqlite") as client, pytest.raises(ForkedLogError):
            client.check_log()

        # What operations.md has the merchant do then: keep the old receipts as evidence, begin new ones, present again.
        with till(alliance, tmp_path / "receipts-new.sqlite") as client:
            presented_again = client.submit_signed(lost)
            assert [each.outcome for (each,) in presented_again] == [Outcome.ACCEPTED] * 4
            assert not any(each.replayed for (each,) in presented_again)
            client.check_log()
        assert complaints(alliance.engine) == []
