"""Breakage: points past their last day on cards that nobody has touched since, found, booked, and settled."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from clearing.postgres.database import snapshot
from clearing.postgres.reading.ledger_reads import list_past_lots
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2
from clearing.v1.operations_pb2 import ListPastLotsRequest, ListPastLotsResponse
from settlement.auditing.audit import verify_export
from tests.integration.alliance import Alliance, founded
from tests.integration.observation import refusal
from tests.integration.test_audit import settle

LAST_DAY = "2026-02-28"


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    """Points of January live until the end of February."""
    with founded(database_url, lot_lifetime_months=1) as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance


def past_lots(alliance: Alliance, key: PrivateKey | None = None, **fields: str | int) -> ListPastLotsResponse:
    request = ListPastLotsRequest(**fields)  # type: ignore[arg-type]  # the fields' own types
    return alliance.operations.ListPastLots(request, metadata=alliance.authorization(key or alliance.operator))


def as_rows(page: ListPastLotsResponse) -> list[tuple[str, str, str, int]]:
    return [(lot.card_token, lot.issuer, lot.expires_on, lot.points) for lot in page.lots]


def expire(alliance: Alliance, *cards: str) -> int:
    entry = alliance.accept(expire_lots=instruction_pb2.ExpireLots(card_tokens=cards))
    assert entry.instruction_result is not None
    return entry.instruction_result.points_expired


def test_untouched_cards_are_found_booked_once_and_settled_as_breakage(alliance: Alliance, tmp_path: Path) -> None:
    untouched, touched, spent = sorted(alliance.open_card("bakery") for _ in range(3))
    for card in (untouched, touched, spent):
        alliance.earn("bakery", card, 100)
    alliance.earn("cinema", untouched, 7)
    alliance.burn("cinema", spent, 100)
    alliance.travel("2026-02-28 23:00:00")
    alliance.earn("cinema", touched, 5)
    assert not past_lots(alliance).lots, "on their last day points can be spent"

    alliance.travel("2026-03-01 00:00:00")
    alliance.earn("cinema", touched, 5)  # books what is past on its own card
    assert past_lots(alliance).as_of == "2026-03-01"
    assert as_rows(past_lots(alliance)) == [
        (untouched, "bakery", LAST_DAY, 100),
        (untouched, "cinema", LAST_DAY, 7),
    ]
    assert expire(alliance, untouched, touched) == 107
    assert not past_lots(alliance).lots
    assert expire(alliance, untouched) == 0

    alliance.travel("2026-04-01 00:00:00")
    for window in ("2026-01", "2026-02", "2026-03"):
        settle(alliance, window)
    points = {each["issuer"]: each for each in alliance.statement("2026-03")["points"]}
    assert points["bakery"]["expired"]["net"] == 100 + 100, "the touched card's and the untouched one's"
    assert points["cinema"]["expired"]["net"] == 7
    assert points["bakery"]["closing"]["outstanding"] == 0
    assert points["cinema"]["closing"]["outstanding"] == 10
    alliance.export(tmp_path)
    assert verify_export(tmp_path, alliance.log_key.verifier).points_outstanding == 10


def test_pages_hold_whole_cards_and_go_on_behind_the_last(alliance: Alliance) -> None:
    cards = sorted(alliance.open_card("bakery") for _ in range(5))
    for card in cards:
        alliance.earn("bakery", card, 10)
        alliance.earn("cinema", card, 20)
    alliance.travel("2026-03-05 10:00:00")
    alliance.open_card("bakery")

    first = past_lots(alliance, page_size=2)
    assert [lot.card_token for lot in first.lots] == [cards[0], cards[0], cards[1], cards[1]]
    assert expire(alliance, *cards[:2]) == 60
    rest = past_lots(alliance, page_size=2, page_token=first.next_page_token)
    last = past_lots(alliance, page_size=2, page_token=rest.next_page_token)
    assert [lot.card_token for lot in (*rest.lots, *last.lots)] == [card for card in cards[2:] for _ in range(2)]
    assert last.next_page_token == ""
    assert as_rows(past_lots(alliance)) == as_rows(rest) + as_rows(last)


def test_a_page_that_has_read_many_cards_without_finding_any_ends_and_says_where_to_go_on(alliance: Alliance) -> None:
    cards = sorted(alliance.open_card("bakery") for _ in range(5))
    alliance.earn("bakery", cards[3], 10)
    after, pages = None, []
    while True:
        with snapshot(alliance.engine) as connection:
            page = list_past_lots(connection, datetime.date(2026, 3, 1), cards_limit=500, after=after, cards_read_max=2)
        pages.append([lot.card for lot in page.lots])
        after = page.goes_on_after
        if after is None:
            break
    assert pages == [[], [cards[3]], []]


def test_a_later_day_shows_what_will_have_expired_by_then(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    alliance.earn("bakery", card, 10)
    assert not past_lots(alliance).lots
    assert not past_lots(alliance, as_of=LAST_DAY).lots
    assert as_rows(past_lots(alliance, as_of="2026-03-01")) == [(card, "bakery", LAST_DAY, 10)]
    assert expire(alliance, card) == 0, "what is not past yet is not booked"


def test_only_operators_see_which_cards_hold_such_points(alliance: Alliance) -> None:
    finance, auditor = PrivateKey.generate(), PrivateKey.generate()
    alliance.register(finance, "ROLE_FINANCE", holder="finance")
    alliance.register(auditor, "ROLE_AUDITOR", holder="auditor")
    for key in (finance, auditor, alliance.keys["bakery"]):
        heard = refusal(lambda key=key: past_lots(alliance, key))  # type: ignore[misc]  # bound to this round
        assert (heard.code, heard.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"as_of": "2026-02-30"}, "INVALID_FIELD", "as_of"),
        ({"page_size": -1}, "INVALID_FIELD", "page_size"),
        ({"page_token": "2"}, "MALFORMED_CARD_TOKEN", "page_token"),
    ],
)
def test_a_malformed_request_names_the_field(
    shared_alliance: Alliance, fields: dict[str, str | int], reason: str, field: str
) -> None:
    heard = refusal(lambda: past_lots(shared_alliance, **fields))  # type: ignore[arg-type]  # the fields' own types
    assert (heard.reason, heard.field) == (reason, field)
