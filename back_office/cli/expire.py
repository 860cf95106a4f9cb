"""``clearing expire``: book the points that are past their last day, on cards that nobody has touched since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import Annotated

import typer

from back_office.cli.console import print_json, print_table, progress_bar, require_consent, say
from back_office.cli.instructing import Instructor, Signing, as_object
from back_office.cli.options import JsonOption, KeysOption, YesOption, settings_of
from back_office.client.connection import GatewayConnection
from back_office.client.instruction_receipt import Decided
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import ExpireLots, Instruction
from clearing.v1.operations_pb2 import ListPastLotsRequest, ListPastLotsResponse


@dataclass(frozen=True, slots=True)
class Overview:
    """What is past its last day and not booked yet."""

    as_of: str
    """The local day before which the last day lies, as YYYY-MM-DD."""
    cards: int
    cards_by_lot: Counter[tuple[str, str]]
    """How many cards hold such points, by last day and issuer."""
    points_by_lot: Counter[tuple[str, str]]

    @property
    def points(self) -> int:
        """All such points."""
        return self.points_by_lot.total()


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
        instructor = Instructor(connection, Signing(key))
        reader = instructor.keys[0]
        overview = _overview(connection, reader)
        if not as_json:
            _print_overview(overview)
        booked: list[Decided] = []
        if overview.points and not preview:
            require_consent("Book these points as expired?", yes=yes)
            with progress_bar() as progress:
                task = progress.add_task("Booking cards", total=overview.cards)
                for cards in _cards_by_page(connection, reader, overview.as_of):
                    booked.append(_book(instructor, cards))
                    progress.advance(task, len(cards))
        calendar = connection.calendar
    if as_json:
        print_json(_as_object(overview, booked))
    elif booked:
        points = sum(decided.points_expired for decided in booked)
        entries = (
            f"entry {booked[0].entry_index:,}"
            if len(booked) == 1
            else f"{len(booked):,} entries, {booked[0].entry_index:,} to {booked[-1].entry_index:,}"
        )
        window = calendar.window_at(booked[-1].accepted_at)
        say(f"{points:,} points are booked as expired, in {entries}; the statements of {window} will show them.")


def _overview(connection: GatewayConnection, key: PrivateKey) -> Overview:
    cards = 0
    cards_by_lot: Counter[tuple[str, str]] = Counter()
    points_by_lot: Counter[tuple[str, str]] = Counter()
    for page in _pages(connection, key):
        cards += len({lot.card_token for lot in page.lots})
        for lot in page.lots:
            cards_by_lot[lot.expires_on, lot.issuer] += 1
            points_by_lot[lot.expires_on, lot.issuer] += lot.points
    return Overview(page.as_of, cards, cards_by_lot, points_by_lot)


def _cards_by_page(connection: GatewayConnection, key: PrivateKey, as_of: str) -> Iterator[list[str]]:
    """The cards with such lots, as many at a time as one instruction names."""
    for page in _pages(connection, key, as_of):
        if page.lots:
            yield [card for card, _ in groupby(page.lots, lambda lot: lot.card_token)]


def _pages(connection: GatewayConnection, key: PrivateKey, as_of: str = "") -> Iterator[ListPastLotsResponse]:
    """At least one page. Each begins behind the last card of the one before, whatever became of that card since."""
    request = ListPastLotsRequest(as_of=as_of)
    while True:
        page = connection.call(connection.operations.ListPastLots, request, key)
        yield page
        if not page.next_page_token:
            return
        request = ListPastLotsRequest(as_of=page.as_of, page_token=page.next_page_token)


def _book(instructor: Instructor, cards: Sequence[str]) -> Decided:
    # The same cards may hold such points again on the same day, by a refund: the log's size makes another reference.
    size = instructor.connection.answer.log_size
    digest = sha256("".join(cards).encode()).hexdigest()[:12]
    return instructor.require(Instruction(expire_lots=ExpireLots(card_tokens=cards)), "expire", str(size), digest)


def _print_overview(overview: Overview) -> None:
    if not overview.points:
        say(f"On {overview.as_of} no card holds points past their last day that are not booked as expired.")
        return
    rows = [
        (expires_on, issuer, f"{overview.cards_by_lot[expires_on, issuer]:,}", f"{points:,}")
        for (expires_on, issuer), points in sorted(overview.points_by_lot.items())
    ]
    rows.append(("all", "", f"{overview.cards:,}", f"{overview.points:,}"))
    print_table(
        f"Points past their last day on {overview.as_of}, not booked as expired yet",
        ("last day", "issued by", "cards", "points"),
        rows,
        numbers=("cards", "points"),
    )


def _as_object(overview: Overview, booked: Sequence[Decided]) -> dict[str, object]:
    return {
        "as_of": overview.as_of,
        "cards": overview.cards,
        "points": overview.points,
        "lots": [
            {
                "expires_on": expires_on,
                "issuer": issuer,
                "cards": overview.cards_by_lot[expires_on, issuer],
                "points": points,
            }
            for (expires_on, issuer), points in sorted(overview.points_by_lot.items())
        ],
        "points_booked": sum(decided.points_expired for decided in booked),
        "booked": [{**as_object(decided), "points_expired": decided.points_expired} for decided in booked],
    }
