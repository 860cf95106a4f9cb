"""The bench's report for programs: everything that was measured and verified, under the keys that they read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.closing import ClosedUnderLoad
from benchmarks.limits import Limits
from benchmarks.measures import Bench, Measured
from benchmarks.verification import VERIFIED_BY, Verification
from benchmarks.workload import MERCHANTS

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured and verified."""

    limits: Limits
    unary: Measured
    signed_singles: Measured
    signed_batches: Measured
    two_merchants: Measured
    grown: Measured | None
    transactions_when_grown: int
    closed: ClosedUnderLoad
    refused_while_closing: int
    verification: Verification
    bench: Bench


def report_object(results: Results, seconds: float, cards: int, gateway_max_rss_mib: int | None) -> JsonObject:
    """The keys that programs read; figures rounded to what they are good for."""
    limits, singles, closed = results.limits, results.signed_singles, results.closed
    verification, cpu = results.verification, results.signed_singles.cpu_us_per_transaction()
    grown = results.grown
    return {
        "seconds": seconds,
        "cards": cards,
        "merchants": MERCHANTS,
        "limits": _limits(limits),
        "unary": _speed(results.unary, limits.empty_unary_per_second),
        "signed_singles": _speed(singles, limits.verify_per_second_per_core),
        "signed_batches": _speed(results.signed_batches),
        "two_merchants": {
            "transactions_per_second": round(results.two_merchants.transactions_per_second),
            "of_twenty_merchants": _ratio(
                results.two_merchants.transactions_per_second, singles.transactions_per_second
            ),
        },
        "grown": None
        if grown is None
        else {
            "transactions": results.transactions_when_grown,
            "transactions_per_second": round(grown.transactions_per_second),
            "of_fresh": _ratio(grown.transactions_per_second, singles.transactions_per_second),
        },
        "close_under_load": {
            "p99_ms_before": round(closed.p99_ms_before, 2),
            "p99_ms_during": round(closed.p99_ms_during, 2),
            "refused": results.refused_while_closing,
            "seconds": round(closed.closing_seconds, 2),
            "calls_during": closed.calls_during,
            "entries": closed.end_index - closed.first_index,
        },
        "server_cpu_us_per_transaction": {"gateway": round(cpu.gateway, 1), "postgres": round(cpu.postgres, 1)},
        "client_cpu_us_per_transaction": round(cpu.clients, 1),
        "memory": {"gateway_max_rss_mib": gateway_max_rss_mib or 0},
        "ledger": {
            "entries": verification.entries,
            "transactions_acknowledged": results.bench.acknowledged,
            "transactions_recorded": verification.outcomes.total(),
            "outcomes": {outcome.name: count for outcome, count in sorted(verification.outcomes.items())},
            "calls_failed": dict(results.bench.failures),
            "receipts_verified": results.bench.receipts_verified,
        },
        "books_balanced": not verification.complaints,
        "log_verified": verification.difference is None,
        "log_verified_by": VERIFIED_BY,
    }


def _speed(measured: Measured, limit_per_second: float | None = None) -> JsonObject:
    """One measure, with its ratio to a limit where it has one."""
    values: JsonObject = {
        "transactions_per_second": round(measured.transactions_per_second),
        "p50_ms": round(measured.latency_ms(0.5), 2),
        "p99_ms": round(measured.latency_ms(0.99), 2),
    }
    if limit_per_second is not None:
        values["of_limit"] = _ratio(measured.transactions_per_second, limit_per_second)
    values["callers"] = measured.shape.callers
    values["calls"] = len(measured.latencies_s)
    return values


def _ratio(value: float, of: float) -> float:
    """A ratio to three places."""
    return round(value / of, 3) if of else 0.0


def _limits(limits: Limits) -> JsonObject:
    """The limits, in whole numbers."""
    return {name: round(value) for name, value in asdict(limits).items()}
