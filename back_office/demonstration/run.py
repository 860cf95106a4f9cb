"""``clearing demo``: the whole of it in one command, in a home of its own that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.audit_report import print_report
from back_office.cli.console import make_table, output, progress_bar, say
from back_office.client.connection import GatewayConnection
from back_office.client.home import home_of
from back_office.demonstration.month_end import settle_month
from back_office.demonstration.scenario import FIRST_DAY, LAST_DAY, SHOPS, Scenario, Till
from back_office.demonstration.setting_up import Demo, found_demo, set_up
from back_office.demonstration.tampering import show_that_a_flipped_byte_is_caught
from back_office.errors import BackOfficeError
from back_office.host.assembly import Gateway
from back_office.host.database import migrated_database
from clearing.calendar import window_of_date
from clearing.log.note import Verifier
from clearing.model import MerchantId, Outcome
from clearing.runtime.settings import Settings
from merchant_gateway.client.log_export import LogExporter
from merchant_gateway.client.merchant_client import MerchantClient
from settlement.auditing.audit import verify_export

VERIFIER_FILE = "log-verifier.txt"


def demo(
    output_directory: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for the workbooks and the exported log.")
    ] = Path("demo-output"),
) -> None:
    """Run an alliance of twelve merchants through three months: earn, burn, refund, settle, audit.

    Everything is real: signed transactions over gRPC, an embedded PostgreSQL, an offline audit. It takes a minute and
    leaves only the output folder.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clearing-demo-") as folder:
        settings = Settings(
            home=Path(folder) / "home",
            address="127.0.0.1:0",
            database_url=None,
            tls_ca=None,
            tls_client_certificate=None,
            tls_client_key=None,
        )
        _heading("1  Found the alliance, start PostgreSQL and the gateway")
        found_demo(settings)
        with (
            migrated_database(settings, "clearing demo") as engine,
            Gateway(engine, home_of(settings).log_signer(None), settings.address) as gateway,
        ):
            settings = settings.model_copy(update={"address": gateway.server.address})
            with GatewayConnection(settings) as connection:
                _run(settings, connection, output_directory)
    say(f"Done in {time.monotonic() - started:.0f} seconds. Look into {output_directory}:", "bold")
    say(f"  {output_directory}/statements/2026-03/alliance.xlsx   what everybody owes, for a finance team")
    say(f"  {output_directory}/statements/2026-03/merchant-cinema.xlsx   one merchant's month")
    say(f"  {output_directory}/log/   the signed log, for any auditor")


def _run(settings: Settings, connection: GatewayConnection, output_directory: Path) -> None:
    _clear(output_directory, connection.alliance.verifier)
    demo_alliance = set_up(settings, connection)
    say(
        f"{len(SHOPS)} merchants admitted, each with a store and a key; two operators and two finance officers sign "
        "together (four eyes)."
    )
    _heading(f"2  {FIRST_DAY:%B} to {LAST_DAY:%B} {LAST_DAY.year}: customers earn and burn on one shared card")
    outcomes = _trade(settings, connection, demo_alliance, output_directory)
    rows = [(outcome.name.lower(), f"{count:,}") for outcome, count in outcomes.most_common()]
    output.print(
        make_table(f"{outcomes.total():,} signed transactions", ("outcome", "transactions"), rows, ("transactions",))
    )
    _heading("4  Audit: export the log, and verify it offline with one public key")
    _audit(connection, demo_alliance, output_directory)


def _trade(
    settings: Settings, connection: GatewayConnection, demo_alliance: Demo, output_directory: Path
) -> Counter[Outcome]:
    """Present every day's transactions, and settle each month when it is over."""
    scenario = Scenario()
    outcomes: Counter[Outcome] = Counter()
    clients = {
        merchant: MerchantClient(settings.address, connection.alliance, MerchantId(merchant), key)
        for merchant, key in demo_alliance.merchant_keys.items()
    }
    days = list(scenario.days())
    with progress_bar() as bar:
        task = bar.add_task("Days", total=len(days))
        for day, following in zip(days, [*days[1:], None], strict=True):
            for till in scenario.tills_of(day):
                _present(scenario, clients, till, outcomes)
            bar.advance(task)
            if following is None or following.month != day.month:
                bar.stop()
                window = window_of_date(day)
                _heading(f"3  Close {day:%B}, settle it, pay")
                settle_month(connection, demo_alliance, window, output_directory / "statements")
                if following is not None:
                    bar.start()
    for client in clients.values():
        client.close()
    return outcomes


def _present(scenario: Scenario, clients: dict[str, MerchantClient], till: Till, outcomes: Counter[Outcome]) -> None:
    receipts = clients[till.merchant].submit(till.transactions, atomic=till.atomic, presented_at=till.presented_at)
    scenario.learn(till.transactions, receipts)
    outcomes.update(receipt.outcome for receipt in receipts)


def _audit(connection: GatewayConnection, demo_alliance: Demo, output_directory: Path) -> None:
    log, verifier = output_directory / "log", connection.alliance.verifier
    with progress_bar() as bar:
        task = bar.add_task("Exporting entries", total=None)
        exporter = LogExporter(connection, verifier, demo_alliance.auditor_key)
        exporter.export(log, lambda done, total: bar.update(task, completed=done, total=total))
    say(f"$ clearing audit verify {log} --key {output_directory / VERIFIER_FILE}", "dim")
    with progress_bar() as bar:
        task = bar.add_task("Verifying entries", total=None)
        report = verify_export(log, verifier, lambda done, total: bar.update(task, completed=done, total=total))
    print_report(report)
    _heading("5  Flip one byte in a copy of the log")
    show_that_a_flipped_byte_is_caught(log, verifier)


def _clear(output_directory: Path, verifier: Verifier) -> None:
    """Remove what an earlier run has left, and nothing else: its verifier key tells that there was one."""
    mark = output_directory / VERIFIER_FILE
    found = [output_directory / name for name in ("log", "statements") if (output_directory / name).exists()]
    if found and not mark.exists():
        raise BackOfficeError(f"{found[0]} is not of an earlier demonstration; choose another --output")
    for folder in found:
        shutil.rmtree(folder)
    output_directory.mkdir(parents=True, exist_ok=True)
    mark.write_text(verifier.vkey + "\n", encoding="utf-8")


def _heading(text: str) -> None:
    output.rule(f"[bold]{text}", align="left")
