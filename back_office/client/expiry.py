"""Points past their last day on cards that nobody has touched since: which there are, and booking them as expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Instructor, Unsigned
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


@dataclass(frozen=True, slots=True)
class BookedCards:
    """One instruction of a run, decided."""

    cards: int
    """How many it named."""
    decided: Decided


def overview(connection: GatewayConnection, key: PrivateKey) -> Overview:
    """What is past its last day today. Raises ``GatewayError``."""
    cards = 0
    cards_by_lot: Counter[tuple[str, str]] = Counter()
    points_by_lot: Counter[tuple[str, str]] = Counter()
    for page in _pages(connection, key):
        cards += len({lot.card_token for lot in page.lots})
        for lot in page.lots:
            cards_by_lot[lot.expires_on, lot.issuer] += 1
            points_by_lot[lot.expires_on, lot.issuer] += lot.points
    return Overview(page.as_of, cards, cards_by_lot, points_by_lot)


def book(instructor: Instructor, as_of: str) -> Iterator[BookedCards]:
    """Book what an overview of this day has shown, one instruction at each step.

    Run again, it finds nothing left. Raises ``RefusedError`` besides what ``Instructor`` raises.
    """
    for page in _pages(instructor.connection, instructor.reader, as_of):
        if page.lots:
            cards = [card for card, _ in groupby(page.lots, lambda lot: lot.card_token)]
            yield BookedCards(len(cards), instructor.require(_booking(instructor.connection, cards)))


def _pages(connection: GatewayConnection, key: PrivateKey, as_of: str = "") -> Iterator[ListPastLotsResponse]:
    """At least one page. Each begins behind the last card of the one before, whatever became of that card since.

    A page holds as many cards as one instruction names.
    """
    request = ListPastLotsRequest(as_of=as_of)
    while True:
        page = connection.call(connection.operations.ListPastLots, request, key)
        yield page
        if not page.next_page_token:
            return
        request = ListPastLotsRequest(as_of=page.as_of, page_token=page.next_page_token)


def _booking(connection: GatewayConnection, cards: Sequence[str]) -> Unsigned:
    # The same cards may hold such points again on the same day, by a refund: the log's size makes another reference.
    digest = sha256("".join(cards).encode()).hexdigest()[:12]
    action = Instruction(expire_lots=ExpireLots(card_tokens=cards))
    return Unsigned(action, ("expire", str(connection.answer.log_size), digest))
