"""What an audit has checked, for people and for programs."""

from __future__ import annotations

from typing import Any

from back_office.cli.console import print_table, say
from clearing.model import Outcome
from settlement.auditing.audit import AuditReport


def print_report(report: AuditReport) -> None:
    """What was checked, as tables for people."""
    rows = [
        (kind, outcome.name.lower(), f"{count:,}")
        for (kind, outcome), count in sorted(report.outcomes.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    print_table(
        "Outcomes, each decided again by the rules",
        ("kind", "outcome", "entries or transactions"),
        rows,
        ("entries or transactions",),
    )
    print_table(
        "Verified",
        ("what", "count"),
        [
            ("entries under the checkpoint's root", f"{report.entries:,}"),
            ("signatures", f"{report.signatures:,}"),
            ("cards", f"{report.cards:,}"),
            ("points on cards", f"{report.points_outstanding:,}"),
            ("windows closed", f"{len(report.windows_closed):,}"),
            ("settlements computed again", f"{len(report.windows_proposed):,}"),
            ("statement digests compared", f"{report.statement_digests:,}"),
            ("statement files compared", "none" if report.statement_files is None else f"{report.statement_files:,}"),
            *_earlier(report),
        ],
        ("count",),
    )
    for key_id, indexes in report.to_review.items():
        say(
            f"To review: key {key_id} may have been somebody else's when it signed {len(indexes):,} entries"
            + (f", from entry {indexes[0]:,} on." if indexes else "."),
            "yellow",
        )
    what = report.checkpoint.origin
    if report.statement_files is None:
        what = f"The log of {what}, without its statements,"
    say(
        f"{what} is in order up to entry {report.checkpoint.size - 1:,}; root {report.checkpoint.root.hex()}.",
        "green",
    )


def _earlier(report: AuditReport) -> list[tuple[str, str]]:
    if not report.earlier_checkpoints:
        return []
    return [
        ("checkpoints kept from before, found again", f"{report.earlier_checkpoints:,}"),
        ("entries kept from before, found again", f"{report.earlier_entries:,}"),
    ]


def report_object(report: AuditReport) -> dict[str, Any]:
    """What was checked, for programs."""
    refused = sum(count for (_, outcome), count in report.outcomes.items() if outcome is not Outcome.ACCEPTED)
    return {
        "verified": True,
        "origin": report.checkpoint.origin,
        "entries": report.entries,
        "root": report.checkpoint.root.hex(),
        "signatures": report.signatures,
        "accepted": report.outcomes.total() - refused,
        "refused": refused,
        "outcomes": [
            {"kind": kind, "outcome": outcome.name, "count": count}
            for (kind, outcome), count in sorted(report.outcomes.items())
        ],
        "cards": report.cards,
        "points_outstanding": report.points_outstanding,
        "windows_closed": list(report.windows_closed),
        "windows_proposed": list(report.windows_proposed),
        "statement_digests": report.statement_digests,
        "statement_files": report.statement_files,
        "earlier_checkpoints": report.earlier_checkpoints,
        "earlier_entries": report.earlier_entries,
        "to_review": {key_id: list(indexes) for key_id, indexes in report.to_review.items()},
    }
