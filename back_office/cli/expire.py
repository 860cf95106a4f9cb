"""``clearing expire``: book the points that are past their last day, on cards that nobody has touched since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from back_office.cli.console import print_json, print_table, progress_bar, require_consent, say
from back_office.cli.instructing import Signing, as_object
from back_office.cli.options import JsonOption, KeysOption, YesOption, settings_of
from back_office.client.connection import GatewayConnection
from back_office.client.expiry import Overview, book, overview
from back_office.client.instruction_receipt import Decided


def expire(
    context: typer.Context,
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would be booked.")] = False,
    yes: YesOption = False,
    key: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Book points that are past their last day as expired, on all cards that hold some.

    Such points cannot be spent anyway, and each is booked when its card is next used. This books the others, so that
    statements show them as expired. Run it on the first day of a month; run again, it finds nothing left.
    """
    with GatewayConnection(settings_of(context)) as connection:
        instructor = Signing(key).instructor(connection)
        found = overview(connection, instructor.reader)
        if not as_json:
            _print_overview(found)
        booked: list[Decided] = []
        if found.points and not preview:
            require_consent("Book these points as expired?", yes=yes)
            with progress_bar() as progress:
                task = progress.add_task("Booking cards", total=found.cards)
                for each in book(instructor, found.as_of):
                    booked.append(each.decided)
                    progress.advance(task, each.cards)
        calendar = connection.calendar
    if as_json:
        print_json(_as_object(found, booked))
    elif booked:
        points = sum(decided.points_expired for decided in booked)
        entries = (
            f"entry {booked[0].entry_index:,}"
            if len(booked) == 1
            else f"{len(booked):,} entries, {booked[0].entry_index:,} to {booked[-1].entry_index:,}"
        )
        window = calendar.window_at(booked[-1].accepted_at)
        say(f"{points:,} points are booked as expired, in {entries}; the statements of {window} will show them.")


def _print_overview(found: Overview) -> None:
    if not found.points:
        say(f"On {found.as_of} no card holds points past their last day that are not booked as expired.")
        return
    rows = [
        (expires_on, issuer, f"{found.cards_by_lot[expires_on, issuer]:,}", f"{points:,}")
        for (expires_on, issuer), points in sorted(found.points_by_lot.items())
    ]
    rows.append(("all", "", f"{found.cards:,}", f"{found.points:,}"))
    print_table(
        f"Points past their last day on {found.as_of}, not booked as expired yet",
        ("last day", "issued by", "cards", "points"),
        rows,
        numbers=("cards", "points"),
    )


def _as_object(found: Overview, booked: Sequence[Decided]) -> dict[str, object]:
    return {
        "as_of": found.as_of,
        "cards": found.cards,
        "points": found.points,
        "lots": [
            {
                "expires_on": expires_on,
                "issuer": issuer,
                "cards": found.cards_by_lot[expires_on, issuer],
                "points": points,
            }
            for (expires_on, issuer), points in sorted(found.points_by_lot.items())
        ],
        "points_booked": sum(decided.points_expired for decided in booked),
        "booked": [{**as_object(decided), "points_expired": decided.points_expired} for decided in booked],
    }
