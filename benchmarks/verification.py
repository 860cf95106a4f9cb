"""After the load: do the books balance, does the log replay, and is everything there that was acknowledged?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy

from back_office.cli.console import note, progress_bar
from back_office.client.connection import GatewayConnection
from benchmarks.setup import Staff
from clearing.errors import ClearingError
from clearing.model import Outcome
from clearing.postgres.database import snapshot
from clearing.postgres.reading.books import check_books
from merchant_gateway.client.log_export import LogExporter
from settlement.auditing.audit import verify_export

VERIFIED_BY: Final = "exported through the gateway, every entry replayed offline (clearing audit verify)"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found."""

    complaints: tuple[str, ...]
    """What does not balance; empty where the books do."""
    difference: str | None
    """What is wrong with the log, if anything is."""
    entries: int
    outcomes: Counter[Outcome]
    """Of all transactions recorded."""


def verify(engine: sqlalchemy.Engine, connection: GatewayConnection, staff: Staff, folder: Path) -> Verification:
    """Check the books in the database, and the log as an auditor does, in ``folder``."""
    note("checking the books")
    with snapshot(engine) as database:
        complaints = tuple(check_books(database))
        outcomes = _outcomes(database)
        entries = int(database.execute(sqlalchemy.text("SELECT size FROM log_head")).scalar_one())
    note(f"exporting and verifying the log of {entries:,} entries")
    try:
        _verify_log(connection, staff, folder)
    except ClearingError as error:
        return Verification(complaints, str(error), entries, outcomes)
    return Verification(complaints, None, entries, outcomes)


def refused_since(engine: sqlalchemy.Engine, first_index: int) -> int:
    """How many transactions the rules have refused in the entries from this one on."""
    with snapshot(engine) as database:
        outcomes = _outcomes(database, first_index)
    return outcomes.total() - outcomes[Outcome.ACCEPTED]


def _outcomes(database: sqlalchemy.Connection, first_index: int = 0) -> Counter[Outcome]:
    counted = database.execute(
        sqlalchemy.text("SELECT outcome, count(*) FROM transactions WHERE entry_index >= :first GROUP BY outcome"),
        {"first": first_index},
    )
    return Counter({Outcome(outcome): count for outcome, count in counted})


def _verify_log(connection: GatewayConnection, staff: Staff, folder: Path) -> None:
    verifier = connection.alliance.verifier
    with progress_bar() as bar:
        task = bar.add_task("Exporting entries", total=None)
        exporter = LogExporter(connection, verifier, staff.auditor)
        exporter.export(folder, lambda done, total: bar.update(task, completed=done, total=total))
        task = bar.add_task("Verifying entries", total=None)
        verify_export(folder, verifier, lambda done, total: bar.update(task, completed=done, total=total))
