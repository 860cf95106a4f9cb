"""The bench's report for people: the machine and its limits, the measures with their ratios, and what was verified."""

from __future__ import annotations

from back_office.cli.console import print_table, say
from benchmarks.report import JsonObject


def print_report(report: JsonObject) -> None:
    """Tables for people."""
    machine = report["machine"]
    say(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']:,} MiB; {machine['kernel']}, "
        f"{machine['file_system']}; Python {machine['python']}, PostgreSQL {machine['postgresql']}, "
        f"fsync {machine['fsync']}; load average before: {machine['load_average_before']}"
    )
    print_table(
        "Limits of this machine",
        ("limit", "per second"),
        [
            ("Ed25519 signatures verified, a core", f"{report['limits']['verify_per_second_per_core']:,}"),
            ("empty gRPC calls", f"{report['limits']['empty_unary_per_second']:,}"),
            ("rows copied into PostgreSQL", f"{report['limits']['copy_rows_per_second']:,}"),
        ],
        ("per second",),
    )
    names = {
        "unary": "1 envelope of 1 transaction a call",
        "signed_singles": "100 envelopes of 1 transaction a call",
        "signed_batches": "2 envelopes of 100 transactions a call",
    }
    print_table(
        f"{report['cards']:,} cards, {report['merchants']} merchants, 80 % earns, 20 % burns; "
        f"{report['seconds']:g} seconds each",
        ("measure", "calls of", "callers", "transactions/s", "p50 ms", "p99 ms", "of limit"),
        [_row(name, calls, report[name]) for name, calls in names.items()],
        ("callers", "transactions/s", "p50 ms", "p99 ms", "of limit"),
    )
    print_table("More", ("measure", "result"), _further_rows(report))


def _row(name: str, calls: str, measured: JsonObject) -> tuple[str, ...]:
    of_limit = measured.get("of_limit")
    return (
        name,
        calls,
        str(measured["callers"]),
        f"{measured['transactions_per_second']:,}",
        f"{measured['p50_ms']:.1f}",
        f"{measured['p99_ms']:.1f}",
        "" if of_limit is None else f"{of_limit:.2f}",
    )


def _further_rows(report: JsonObject) -> list[tuple[str, str]]:
    two, grown, closing = report["two_merchants"], report["grown"], report["close_under_load"]
    cpu, ledger = report["server_cpu_us_per_transaction"], report["ledger"]
    refused = {name: count for name, count in ledger["outcomes"].items() if name != "ACCEPTED"}
    return [
        (
            "two merchants instead of twenty",
            f"{two['transactions_per_second']:,} transactions/s, {two['of_twenty_merchants']:.2f} of twenty",
        ),
        (
            "grown ledger",
            f"{grown['transactions_per_second']:,} transactions/s after {grown['transactions']:,}, "
            f"{grown['of_fresh']:.2f} of fresh"
            if grown is not None
            else "not measured; it takes minutes: clearing bench --grown",
        ),
        (
            "a month closing under load",
            (
                f"p99 {closing['p99_ms_before']:.1f} ms before, {closing['p99_ms_during']:.1f} ms during its "
                f"{closing['seconds']:.1f} s; {closing['refused']} refused; {closing['entries']:,} entries closed"
            ),
        ),
        (
            "CPU of the servers a transaction (signed_singles)",
            f"gateway {cpu['gateway']:.0f} µs, PostgreSQL {cpu['postgres']:.0f} µs",
        ),
        ("CPU of the load clients a transaction (signed_singles)", f"{report['client_cpu_us_per_transaction']:.0f} µs"),
        ("memory of the gateway at most", f"{report['memory']['gateway_max_rss_mib']:,} MiB"),
        (
            "ledger",
            (
                f"{ledger['entries']:,} entries; {ledger['transactions_acknowledged']:,} transactions acknowledged, "
                f"{ledger['transactions_recorded']:,} recorded; refused: {refused or 'none'}; "
                f"failed calls: {ledger['calls_failed'] or 'none'}"
            ),
        ),
        ("books", "balance" if report["books_balanced"] else "DO NOT BALANCE"),
        ("log", f"{'verified' if report['log_verified'] else 'NOT VERIFIED'}: {report['log_verified_by']}"),
    ]
