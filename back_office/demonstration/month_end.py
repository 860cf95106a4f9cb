"""A month's end in the demonstration: close, propose, approve by two, pay, and show what came of it."""

from __future__ import annotations

import json
from pathlib import Path

from back_office.cli.console import output, say
from back_office.cli.instructing import Instructor, Signing
from back_office.cli.statement import download_statement, write_statement
from back_office.cli.statement_tables import obligations_table, payments_table, positions_table
from back_office.client.connection import GatewayConnection
from back_office.client.windows import closing_time
from back_office.demonstration.setting_up import Demo
from clearing.calendar import first_day, month_end
from clearing.model import WindowId
from clearing.v1.instruction_pb2 import ApproveSettlement, CloseWindow, Instruction, RecordPayment
from clearing.v1.settlement_pb2 import GetSettlementRequest


def settle_month(connection: GatewayConnection, demo: Demo, window: WindowId, statements: Path) -> None:
    """From the closed month to its last payment; the statements' files go to ``statements``."""
    operator = Instructor(connection, Signing(keys=demo.operators[:1]))
    finance = Instructor(connection, Signing(keys=demo.finance))
    closed = operator.require(
        Instruction(close_window=CloseWindow(window=window)),
        "close",
        window,
        not_before=closing_time(connection, window),
    )
    entries = closed.window_range
    assert entries is not None, "a closed window has a range"
    say(f"Window {window} is entries {entries.first_index:,} to {entries.end_index - 1:,} of the log.")

    request = GetSettlementRequest(window=window)
    proposal = connection.call(connection.settlement.GetSettlement, request, operator.keys[0]).proposal
    operator.require(Instruction(propose_settlement=proposal), "propose", window)
    approval = ApproveSettlement(proposal=proposal)
    finance.require(Instruction(approve_settlement=approval), "approve", window)
    paid_on = (month_end(first_day(window), 1)).isoformat()
    for number, payment in enumerate(proposal.payments, start=1):
        recording = RecordPayment(
            window=window, payment=payment, paid_on=paid_on, bank_reference=f"DEMO-{window}-{number}"
        )
        finance.require(Instruction(record_payment=recording), "pay", window, str(number))

    merchants = ["", *(each.merchant for each in proposal.statement_digests)]
    for merchant in merchants:
        for name, content in download_statement(connection, operator.keys[0], window, merchant):
            write_statement(statements / window, name, content)
    statement = json.loads((statements / window / "alliance.json").read_bytes())
    output.print(obligations_table(statement))
    output.print(positions_table(statement))
    output.print(payments_table(statement))
    say("Proposed by an operator, approved by two finance officers, all payments recorded: settled.")
