"""A month's end in the demonstration: close, propose, approve by two, pay, and show what came of it."""

from __future__ import annotations

import json
from pathlib import Path

from back_office.cli.console import output, say
from back_office.cli.statement_tables import obligations_table, payments_table, positions_table
from back_office.client.connection import GatewayConnection
from back_office.client.home import signing_keys
from back_office.client.instructing import Instructor
from back_office.client.payments import payments_proven, record_all
from back_office.client.settlements import approving, computed_settlement, proposing
from back_office.client.statements import download_statement, write_statement
from back_office.client.windows import closing
from back_office.demonstration.setting_up import Demo
from clearing.calendar import first_day, month_end
from clearing.model import WindowId


def settle_month(connection: GatewayConnection, demo: Demo, window: WindowId, statements: Path) -> None:
    """From the closed month to its last payment; the statements' files go to ``statements``."""
    operator = Instructor(connection, signing_keys(connection.settings, demo.operators[:1]))
    finance = Instructor(connection, signing_keys(connection.settings, demo.finance))
    closed = operator.require(closing(connection, window))
    entries = closed.window_range
    assert entries is not None, "a closed window has a range"
    say(f"Window {window} is entries {entries.first_index:,} to {entries.end_index - 1:,} of the log.")

    settlement = computed_settlement(connection, operator.reader, window)
    operator.require(proposing(settlement))
    finance.require(approving(settlement))
    paid_on = (month_end(first_day(window), 1)).isoformat()
    proven = payments_proven(connection, operator.reader, window)
    for _ in record_all(finance, window, proven.payments, paid_on, f"DEMO-{window}"):
        pass  # each is required to be recorded

    merchants = ["", *(each.merchant for each in proven.statements)]
    for merchant in merchants:
        for name, content in download_statement(connection, operator.reader, window, merchant):
            write_statement(statements / window, name, content)
    statement = json.loads((statements / window / "alliance.json").read_bytes())
    output.print(obligations_table(statement))
    output.print(positions_table(statement))
    output.print(payments_table(statement))
    say("Proposed by an operator, approved by two finance officers, all payments recorded: settled.")
