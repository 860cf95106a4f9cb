"""A whole month end: what must hold whatever happened, and what the settlement does not depend on."""

from __future__ import annotations

import datetime
import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.model import POOL, EntryIndex, MerchantId, Points, SettlementMethod, WindowId, WindowRange
from clearing.rules.directory import Prices, TermsScope
from clearing.rules.movements import Flow, Movement
from settlement.reports.report_csv import alliance_csv
from settlement.v1.errors import NoSuchStatementError, WindowNotClosedError
from settlement.v1.month_end import settle
from settlement.v1.report_json import alliance_json
from settlement.v1.statements import Settlement
from tests.settlement.scenario import JANUARY, LOG_ROOT, MERCHANTS, directory_of, settled

A, B, C, D = MERCHANTS
TO_ANOTHER = (Movement.BURN, Movement.EARN_TO_CREDITOR, Movement.BURN_REFUNDED)

days = st.dates(datetime.date(2025, 12, 1), datetime.date(2026, 1, 31))
prices = st.decimals(0, 1, places=8)
merchants = st.sampled_from(MERCHANTS)
methods = st.sampled_from(SettlementMethod)


@st.composite
def flows(draw: st.DrawFn) -> list[Flow]:
    """Any movements, after earns and card debts so large that no balance falls below zero."""
    plenty = [
        Flow(movement, issuer, None, datetime.date(2025, 12, 1), "PTS", Points(10**12))
        for movement in (Movement.EARN, Movement.DEBT_INCURRED)
        for issuer in MERCHANTS
    ]
    drawn = draw(
        st.lists(
            st.builds(
                Flow, st.sampled_from(Movement), merchants, merchants, days, st.just("PTS"), st.integers(0, 10**6)
            )
        )
    )
    return plenty + [flow if flow.movement in TO_ANOTHER else flow._replace(redeemer=None) for flow in drawn]


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    terms: dict[TermsScope, tuple[Prices, ...]] = {}
    scopes: tuple[TermsScope, ...] = ((None, None), (B, None), (A, B))
    for scope in scopes:
        first, second = (
            Prices(datetime.date(2026, 1, day), draw(prices) if scope[1] is None else None, draw(prices))
            for day in (1, 16)
        )
        terms[scope] = (first, second)
    before, during = draw(flows()), draw(flows())
    return settle(directory_of(terms, draw(methods)), JANUARY, before, during, LOG_ROOT)


@settings(max_examples=60)
@given(settlements())
def test_positions_sum_to_zero_and_payments_settle_them(settlement: Settlement) -> None:
    alliance = settlement.alliance
    net = {each.participant: each.net_minor for each in alliance.positions}
    assert sum(net.values()) == 0
    for payment in alliance.payments:
        net[payment.payer] += payment.amount_minor
        net[payment.payee] -= payment.amount_minor
    assert set(net.values()) == {0}
    # Setting off in pairs comes to the same positions.
    for each in alliance.positions:
        received = sum(pair.amount_minor for pair in alliance.bilateral if pair.payee == each.participant)
        paid = sum(pair.amount_minor for pair in alliance.bilateral if pair.payer == each.participant)
        assert received - paid == each.net_minor


@settings(max_examples=60)
@given(settlements())
def test_nothing_is_lost_in_rounding(settlement: Settlement) -> None:
    for each in settlement.alliance.obligations:
        assert each.amount_minor + each.remainder_minor == each.exact_minor
        assert abs(each.remainder_minor) <= Decimal("0.5")
        assert each.exact_minor == sum(line.exact_minor for line in each.lines)
        assert each.points == sum(line.points for line in each.lines)
        for line in each.lines:
            assert line.exact_minor == line.points * line.price * 100


@settings(max_examples=60)
@given(settlements())
def test_merchants_statements_make_up_the_alliances(settlement: Settlement) -> None:
    alliance = settlement.alliance
    assert tuple(each.points for each in settlement.merchants) == alliance.points
    for each in settlement.merchants:
        points = each.points
        change = points.issued - points.redeemed - points.expired
        assert points.opening.outstanding + change == points.closing.outstanding
        assert sum(one.points for one in each.redeemed_from_me) == points.redeemed
        owed = sum(one.amount_minor for one in each.i_am_owed) - sum(one.amount_minor for one in each.i_owe)
        assert owed == each.position.net_minor
    seen = {one for each in settlement.merchants for one in each.obligations}
    assert seen == set(alliance.obligations)


@settings(max_examples=40)
@given(flows(), methods, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_flows_nor_how_they_are_summed_matters(
    drawn: list[Flow], method: SettlementMethod, order: random.Random
) -> None:
    directory = directory_of({}, method)
    halves = [flow._replace(points=Points(half)) for flow in drawn for half in (flow.points // 2, -(-flow.points // 2))]
    order.shuffle(halves)
    whole = settle(directory, JANUARY, (), drawn, LOG_ROOT)
    pieces = settle(directory, JANUARY, iter(()), iter(halves), LOG_ROOT)
    assert alliance_json(whole) == alliance_json(pieces)
    assert alliance_csv(whole) == alliance_csv(pieces)


def test_one_months_closing_is_the_next_months_opening() -> None:
    january = settled("a earn 1000 on 2026-01-05\na burn 100 at b on 2026-01-05\na debt_incurred 7 on 2026-01-05")
    february = settled("""
        before
        a earn 1000 on 2026-01-05
        a burn 100 at b on 2026-01-05
        a debt_incurred 7 on 2026-01-05
        during
        a burn 10 at b on 2026-01-06
    """)
    assert february.statement_of(A).points.opening == january.statement_of(A).points.closing


@pytest.mark.parametrize("method", SettlementMethod)
def test_an_empty_month_settles_to_nothing(method: SettlementMethod) -> None:
    settlement = settled("before\na earn 1000 on 2025-12-05", method)
    alliance = settlement.alliance
    assert not any((alliance.obligations, alliance.payments, alliance.bilateral, alliance.redemptions))
    assert [each.net_minor for each in alliance.positions] == [0] * len(alliance.positions)
    assert settlement.statement_of(A).points.closing.outstanding == 1000
    participants = [each.participant for each in alliance.positions]
    assert participants == [*MERCHANTS, *([POOL] if method is SettlementMethod.POOL else [])]


def test_an_alliance_without_merchants_settles_to_nothing() -> None:
    settlement = settled("", merchants=())
    assert not any((settlement.merchants, settlement.alliance.positions, settlement.alliance.payments))


def test_what_happens_after_the_close_changes_nothing() -> None:
    directory = directory_of({}, SettlementMethod.ISSUER_PAYS)
    during = [Flow(Movement.EARN, A, None, datetime.date(2026, 1, 1), "PTS", Points(100))]
    during.append(Flow(Movement.BURN, A, B, datetime.date(2026, 1, 1), "PTS", Points(50)))
    prices = (Prices(datetime.date(2026, 2, 1), Decimal(5), Decimal(5)),)
    february = WindowId("2026-02")
    closed = {
        JANUARY: replace(directory.closed_windows[JANUARY], approved=True),
        february: replace(directory.closed_windows[JANUARY], range=WindowRange(EntryIndex(40), EntryIndex(60))),
    }
    later = replace(directory, terms={(None, None): prices}, closed_windows=closed)
    assert settle(later, JANUARY, (), during, LOG_ROOT) == settle(directory, JANUARY, (), during, LOG_ROOT)


def test_the_statement_names_the_window_and_the_log_it_comes_from() -> None:
    period = settled("a earn 100 on 2026-01-05").period
    assert (period.first_day, period.last_day) == (datetime.date(2026, 1, 1), datetime.date(2026, 1, 31))
    assert (period.first_index, period.end_index, period.log_size, period.entries) == (5, 40, 40, 35)
    assert (period.origin, period.log_root) == ("points.example", LOG_ROOT)


def test_a_window_that_is_not_closed_cannot_be_settled() -> None:
    directory = directory_of({}, SettlementMethod.POOL)
    with pytest.raises(WindowNotClosedError, match="window 2026-02 is not closed: close it first"):
        settle(directory, WindowId("2026-02"), (), (), LOG_ROOT)


def test_a_root_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        settle(directory_of({}, SettlementMethod.POOL), JANUARY, (), (), LOG_ROOT[1:])


def test_no_statement_for_somebody_who_was_not_a_member() -> None:
    with pytest.raises(NoSuchStatementError, match="stranger has no statement for 2026-01"):
        settled("").statement_of(MerchantId("stranger"))
