"""A month's end under load: tills go on selling while the month before is closed, proposed and approved.

The presented clock makes it possible at any time of day: the clients' later calls are presented in February, so the
ledger's month ends in the middle of the load, exactly as it would at midnight. The gateway does what it does under the
system's clock, which differs in one comparison.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

from back_office.cli.console import note
from back_office.client.connection import GatewayConnection
from back_office.client.home import signing_keys
from back_office.client.instructing import Instructor
from back_office.client.settlements import approving, computed_settlement, proposing
from back_office.client.windows import closing
from benchmarks.measures import Bench, percentile_ms
from benchmarks.setup import Staff
from benchmarks.workload import LOADED_AFTER_CLOSING_AT, UNARY, WINDOW, Stock

CLOSING_SECONDS_LEAST: Final = 3.0
"""For how long calls are made ready at the least, and twice as long as any measure takes."""


@dataclass(frozen=True, slots=True)
class ClosedUnderLoad:
    """What the tills noticed of it. Single calls of 64 callers, as in ``unary``."""

    p99_ms_before: float
    p99_ms_during: float
    """Of the calls under way between the closing instruction and the approval."""
    calls_during: int
    calls_failed: int
    """Of the whole run."""
    closing_seconds: float
    first_index: int
    end_index: int
    """The entries that were closed."""


def close_under_load(bench: Bench, connection: GatewayConnection, staff: Staff) -> ClosedUnderLoad:
    """Load, close the month meanwhile, and load until it is closed."""
    before_seconds = bench.warm_up_seconds + bench.seconds
    calls_before = bench.calls_for(UNARY, before_seconds)
    after_seconds = max(CLOSING_SECONDS_LEAST, 2 * bench.seconds)
    calls_after = bench.calls_for(UNARY, after_seconds)
    note(f"close_under_load: signing {calls_before + calls_after:,} envelopes, then closing {WINDOW} under load")
    bench.clients.sign(Stock(UNARY, calls_before), Stock(UNARY, calls_after, presented_at=LOADED_AFTER_CLOSING_AT))
    start_at_s = bench.clients.start(bench.gateway.address, UNARY.callers, before_seconds, after_seconds)
    month_ends_at_s = start_at_s + before_seconds
    time.sleep(max(0.0, month_ends_at_s - time.monotonic()))
    closing_at_s = time.monotonic()
    first_index, end_index = _close(connection, staff)
    closed_at_s = time.monotonic()
    bench.clients.stop()
    made = bench.finish(UNARY)
    if closed_at_s > min(month_ends_at_s + after_seconds, made.ran_out_at_s or math.inf):
        note("The load ended before the month was closed: p99_ms_during is of the time before. Take more --seconds.")
    during = made.latencies_touching_s(closing_at_s, closed_at_s)
    return ClosedUnderLoad(
        p99_ms_before=percentile_ms(made.latencies_s(start_at_s + bench.warm_up_seconds, month_ends_at_s), 0.99),
        p99_ms_during=percentile_ms(during, 0.99),
        calls_during=len(during),
        calls_failed=made.failures.total(),
        closing_seconds=closed_at_s - closing_at_s,
        first_index=first_index,
        end_index=end_index,
    )


def _close(connection: GatewayConnection, staff: Staff) -> tuple[int, int]:
    """Close the month, have its settlement computed, propose and approve it; the entries it has."""
    operator = Instructor(connection, signing_keys(connection.settings, [staff.operator]))
    finance = Instructor(connection, signing_keys(connection.settings, [staff.finance]))
    closed = operator.require(closing(connection, WINDOW))
    entries = closed.window_range
    assert entries is not None, "a closed window has a range"
    settlement = computed_settlement(connection, operator.reader, WINDOW)
    operator.require(proposing(settlement))
    finance.require(approving(settlement))
    return entries.first_index, entries.end_index
