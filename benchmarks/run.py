"""``clearing bench``: set up, measure, verify, report, and leave nothing behind."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NamedTuple

import sqlalchemy
import typer

from back_office.cli.console import note, print_json
from back_office.cli.options import JsonOption
from back_office.client.connection import GatewayConnection
from back_office.host.database import migrated_database
from benchmarks.closing import close_under_load
from benchmarks.errors import BenchFailedError
from benchmarks.gateway_process import GatewayProcess
from benchmarks.limits import measure_limits
from benchmarks.load import LoadClients
from benchmarks.measures import Bench, joined
from benchmarks.processes import describe_machine, postgres_main_process
from benchmarks.report import Results, report_object
from benchmarks.settling import COUNTERPARTIES, FULL_MESH_BELOW, measure_settlements, members_of, print_settlements
from benchmarks.setup import admit, found_bench, fund_cards
from benchmarks.tables import print_report
from benchmarks.verification import Verification, refused_since, verify
from benchmarks.workload import CARDS, SIGNED_BATCHES, SIGNED_SINGLES, UNARY
from clearing.runtime.settings import Settings

TERMINATED: Final = 143
"""Exit code after SIGTERM: 128 and its number, as shells have it."""
LIMIT_SECONDS_MAX: Final = 2.0
"""How long each of the machine's limits is measured at most: they are steady."""
SERVER_NAME: Final = "clearing bench"


SecondsOption = Annotated[
    float, typer.Option(min=0.2, max=600, metavar="N", help="Seconds of load for each measure, after a warm-up.")
]
GrownOption = Annotated[
    bool,
    typer.Option(
        "--grown",
        help="Also measure signed_singles on a grown ledger; it takes minutes more. Without it, grown is null.",
    ),
]
GrownTransactionsOption = Annotated[
    int, typer.Option(min=1, max=100_000_000, metavar="N", help="Transactions of the grown ledger.")
]
CardsOption = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Cards in use.")]
DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        metavar="DIR",
        help="Folder on the disk to measure, for the database; the system's folder for temporary files without it.",
    ),
]
MembersOption = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,…",
        help="Measure only how long one settlement takes for so many members, such as 100,300,1000. Below "
        f"{FULL_MESH_BELOW:,} members each redeems the points of every other (full mesh); from there on each has "
        f"{COUNTERPARTIES} counterparties.",
    ),
]


def bench(
    seconds: SecondsOption = 5.0,
    as_json: JsonOption = False,
    grown: GrownOption = False,
    grown_transactions: GrownTransactionsOption = 1_000_000,
    cards: CardsOption = CARDS,
    directory: DirectoryOption = None,
    members: MembersOption = None,
) -> None:
    """Measure the clearing house on this machine, next to the machine's own limits.

    A real gateway, an embedded PostgreSQL with fsync on, and the clients that load it are processes of their own on
    this machine, so they share its cores; nothing else should run. The clients sign beforehand and keep so many calls
    under way (the callers): unary is 1 envelope of 1 transaction a call, signed_singles 100 envelopes of 1,
    signed_batches 2 envelopes of 100. Latencies are of whole calls.

    The alliance runs under the presented clock, in January 2026: so its month can end in the middle of the load. From
    then on it is closed, settled and approved while 64 callers go on (close_under_load).

    Afterwards the books are checked and the log is exported and verified as by an auditor, which takes longest. If
    either fails, or an acknowledged transaction is missing, the exit code is 1. Nothing is left behind.

    With --members nothing of this is done, and neither gateway nor database is started: settlements are measured, each
    from a window's flows to all members' statements, their digests and the proposal's roots. Customers burn points of
    three months of issue, each at its own price, at every counterparty, and return some.
    """
    if members is not None:
        _bench_settlements(members_of(members), as_json=as_json)
        return
    with (
        _terminating(),
        tempfile.TemporaryDirectory(prefix="clearing-bench-", dir=directory) as folder,
        _served(Path(folder)) as house,
    ):
        results = _measure(house, seconds, cards, grown_transactions if grown else None)
        house.gateway.stop()  # now, to learn how much memory it took
    report = report_object(results, seconds, cards, house.gateway.max_rss_mib) | {"machine": house.machine}
    if as_json:
        print_json(report)
    else:
        print_report(report)
    require_right(results.verification, results.bench.acknowledged)


def _bench_settlements(members: tuple[int, ...], *, as_json: bool) -> None:
    seconds = measure_settlements(members)
    if as_json:
        print_json({"settlement": {str(number): took for number, took in seconds.items()}})
    else:
        print_settlements(seconds)


class _House(NamedTuple):
    """A served alliance that is to be measured."""

    settings: Settings
    engine: sqlalchemy.Engine
    gateway: GatewayProcess
    machine: dict[str, Any]


@contextmanager
def _served(folder: Path) -> Iterator[_House]:
    """Found an alliance in the folder, and serve it within the block."""
    settings = Settings(
        home=folder / "home",
        address="127.0.0.1:0",
        database_url=None,
        passphrase=None,
        key=None,
        tls_ca=None,
        tls_client_certificate=None,
        tls_client_key=None,
    )
    note("founding an alliance on an embedded PostgreSQL")
    found_bench(settings)
    with migrated_database(settings, SERVER_NAME) as engine:
        machine = describe_machine(engine, folder)
        gateway = GatewayProcess(settings.home, folder / "gateway.log")
        try:
            yield _House(settings.model_copy(update={"address": gateway.address}), engine, gateway, machine)
        finally:
            gateway.stop()


def _measure(house: _House, seconds: float, cards: int, grown_transactions: int | None) -> Results:
    settings, engine, gateway, _ = house
    with GatewayConnection(settings) as connection:
        population, staff = admit(connection, cards)
        with LoadClients(population) as clients:
            note("measuring the machine's limits")
            limits = measure_limits(population, clients, engine, min(seconds, LIMIT_SECONDS_MAX))
            note(f"opening {cards:,} cards and putting points on them")
            fund_cards(clients, gateway.address)
            bench = Bench(gateway, postgres_main_process(engine), clients, seconds, acknowledged=2 * cards)
            # Both halves of each lie evenly around the same moment, so that a machine that slows down slows both.
            singles = [bench.measure(SIGNED_SINGLES, seconds=seconds / 2)]
            two = [bench.measure(SIGNED_SINGLES, merchants=2, seconds=seconds / 2) for _ in range(2)]
            singles.append(bench.measure(SIGNED_SINGLES, seconds=seconds / 2))
            batches = bench.measure(SIGNED_BATCHES)
            unary = bench.measure(UNARY)
            grown = None
            if grown_transactions is not None:
                bench.grow(SIGNED_BATCHES, grown_transactions)
            transactions_when_grown = bench.acknowledged
            if grown_transactions is not None:
                grown = bench.measure(SIGNED_SINGLES)
            closed = close_under_load(bench, connection, staff)
            refused = refused_since(engine, closed.end_index)
        verification = verify(engine, connection, staff, settings.home.parent / "log")
    return Results(
        limits=limits,
        unary=unary,
        signed_singles=joined(singles),
        signed_batches=batches,
        two_merchants=joined(two),
        grown=grown,
        transactions_when_grown=transactions_when_grown,
        closed=closed,
        refused_while_closing=refused + closed.calls_failed,
        verification=verification,
        bench=bench,
    )


def require_right(verification: Verification, acknowledged: int) -> None:
    """Raise ``BenchFailedError`` if anything that was measured was not done right."""
    if verification.complaints:
        raise BenchFailedError("the books do not balance:\n" + "\n".join(verification.complaints))
    if verification.difference is not None:
        raise BenchFailedError(f"the log does not verify: {verification.difference}")
    recorded = verification.outcomes.total()
    if recorded < acknowledged:
        raise BenchFailedError(f"{acknowledged:,} transactions were acknowledged, and only {recorded:,} are recorded")


@contextmanager
def _terminating() -> Iterator[None]:
    """Have SIGTERM end the block like Ctrl-C does: with everything cleaned up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
