"""Planning baskets, and presenting the plan to the real rules: it comes to what one basket after the other comes to."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.card_token import derived_token
from clearing.contract.bounds import PAYLOAD_BYTES_MAX, TRANSACTIONS_MAX
from clearing.contract.entry import decode_entry
from clearing.contract.log_identity import LogIdentity
from clearing.log.note import Signer
from clearing.model import Instant, MerchantId, Outcome, Points, StoreId
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.baskets.basket_file import Basket
from merchant_gateway.client.baskets.csv_file import CsvFileError
from merchant_gateway.client.baskets.errors import BasketJobError
from merchant_gateway.client.baskets.presenting import Presenter
from merchant_gateway.client.baskets.summary import Tally
from merchant_gateway.client.baskets.waves import BASKETS_PER_WAVE_MAX, BasketPlan, BasketRules, plan_baskets
from merchant_gateway.client.transaction_receipt import TransactionReceipt
from tests.merchant_gateway.client.rules_alliance import (
    FOUNDED_AT,
    IDENTITY,
    TIME_ZONE,
    RulesAlliance,
    directory_of,
    key_of,
)
from tests.zones import calendar_of

STORES = {"s1": "bakery", "s2": "cinema", "s3": "cinema", "s4": "garage"}
MERCHANTS = {StoreId(store): MerchantId(merchant) for store, merchant in STORES.items()}
KEYS = {merchant: key_of(merchant) for merchant in MERCHANTS.values()}
RULES = BasketRules(Decimal(1), Points(10))
SECRET = bytes(32)
MINUTE = 60_000_000


def basket(number: int, household: str, store: str, minutes: int, amount_minor: int) -> Basket:
    """A basket bought so many minutes after the founding."""
    bought = Instant(FOUNDED_AT + minutes * MINUTE)
    return Basket(number + 2, f"b{number}", household, StoreId(store), bought, amount_minor)


@st.composite
def basket_lists(draw: st.DrawFn) -> list[Basket]:
    """Baskets of few households over some days and a month's end, often at one instant, some without points."""
    baskets = []
    minutes = 60 * 24 * 29
    for number in range(draw(st.integers(1, 40))):
        minutes += draw(st.sampled_from((0, 0, 1, 30, 600, 1500)))
        household = draw(st.sampled_from(("h1", "h2", "h3", "h4")))
        store = draw(st.sampled_from(sorted(STORES)))
        baskets.append(basket(number, household, store, minutes, draw(st.sampled_from((0, 99, 100, 450, 1000, 3500)))))
    return baskets


def planned(baskets: Sequence[Basket], rules: BasketRules = RULES) -> BasketPlan:
    return plan_baskets(
        Path("baskets.csv"), baskets, rules, MERCHANTS, SECRET, currency_decimals=2, calendar=calendar_of(TIME_ZONE)
    )


def presented(alliance: RulesAlliance, plan: BasketPlan) -> Tally:
    """The count of a run."""
    tally = Tally()
    Presenter(IDENTITY, KEYS, RULES.burn_points).present(plan, alliance.submit, tally, lambda done, total: None)
    return tally


def plain_sums(baskets: Sequence[Basket]) -> tuple[dict[str, int], Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """The rule in plain sums: balances, and points earned and burned by merchant and month."""
    balances: dict[str, int] = {}
    earned: Counter[tuple[str, str]] = Counter()
    burned: Counter[tuple[str, str]] = Counter()
    for each in baskets:
        points = each.amount_minor // 100
        if points == 0:
            continue
        of = (STORES[each.store], calendar_of(TIME_ZONE).window_at(each.purchased_at))
        balances[each.household_id] = balances.get(each.household_id, 0) + points
        earned[of] += points
        if balances[each.household_id] >= 10:
            balances[each.household_id] -= 10
            burned[of] += 10
    return balances, earned, burned


def balances_of(alliance: RulesAlliance) -> dict[str, int]:
    """What each household's card can spend."""
    household_of = {derived_token(SECRET, household): household for household in ("h1", "h2", "h3", "h4")}
    today = calendar_of(TIME_ZONE).date_at(alliance.latest)
    return {household_of[token]: card.points_available(today) for token, card in alliance.ledger.cards.items()}


def ledger_sums(alliance: RulesAlliance) -> tuple[dict[str, int], Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """The same from the ledger: what its entries say."""
    sums: dict[str, Counter[tuple[str, str]]] = {"earn": Counter(), "burn": Counter()}
    for recorded in alliance.ledger.transactions.values():
        entry = decode_entry(alliance.leaves[recorded.entry_index])
        kind = recorded.kind.name.lower()
        if kind in sums:
            assert recorded.result.outcome is Outcome.ACCEPTED
            sums[kind][recorded.merchant, calendar_of(TIME_ZONE).window_at(entry.accepted_at)] += recorded.result.points
    return balances_of(alliance), sums["earn"], sums["burn"]


# ---- the plan ----


@given(basket_lists())
def test_waves_keep_the_order_and_no_card_or_second_day_comes_into_one(baskets: list[Basket]) -> None:
    plan = planned(baskets)
    flat = [each for wave in plan.waves for each in wave.baskets]
    assert [each.basket for each in flat] == [each for each in baskets if each.amount_minor >= 100]
    assert plan.baskets == len(baskets)
    for wave in plan.waves:
        assert len({each.card for each in wave.baskets}) == len(wave.baskets) <= BASKETS_PER_WAVE_MAX
        assert len({calendar_of(TIME_ZONE).date_at(each.basket.purchased_at) for each in wave.baskets}) == 1
        assert wave.presented_at == max(each.basket.purchased_at for each in wave.baskets)


def test_a_wave_ends_where_it_is_full() -> None:
    plan = planned([basket(number, f"h{number}", "s1", 0, 100) for number in range(300)])
    assert [len(wave.baskets) for wave in plan.waves] == [126, 126, 48]


def test_the_largest_wave_fits_into_one_presentment() -> None:
    store = StoreId("s" * 32)
    baskets = [
        Basket(2, f"{number:x>59}", f"h{number}", store, Instant(4_102_444_799_999_999), 10**12)
        for number in range(BASKETS_PER_WAVE_MAX)
    ]
    merchant = MerchantId("m" * 32)
    plan = plan_baskets(
        Path("f"),
        baskets,
        BasketRules(Decimal("0.1"), Points(1)),
        {store: merchant},
        SECRET,
        currency_decimals=2,
        calendar=calendar_of("UTC"),
    )
    sent: list[Envelope] = []

    def note(envelopes: Sequence[Envelope]) -> list[list[TransactionReceipt]]:
        sent.extend(envelopes)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Presenter(
            LogIdentity(Signer("o" * 200, bytes(32)).verifier, bytes(16)), {merchant: key_of(merchant)}, Points(1)
        ).present(plan, note, Tally(), lambda done, total: None)
    assert len(plan.waves) == len(sent) == 1
    assert 40_000 < len(sent[0].payload) <= PAYLOAD_BYTES_MAX
    assert 2 * BASKETS_PER_WAVE_MAX <= TRANSACTIONS_MAX


def test_points_are_rounded_down_exactly() -> None:
    rules = BasketRules(Decimal("0.1"), Points(1))
    assert [rules.points_of(amount, 2) for amount in (0, 999, 1_000, 1_999, 10**12)] == [0, 0, 1, 1, 10**9]
    third = BasketRules(Decimal("0.333333333333333333333333333333333333"), Points(1))
    assert third.points_of(300, 2) == 0
    assert BasketRules(Decimal("1E+2"), Points(1)).points_of(1, 2) == 1


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity"])
def test_a_rate_that_earns_nothing_sensible_is_refused(rate: str) -> None:
    with pytest.raises(BasketJobError, match="above 0"):
        BasketRules(Decimal(rate), Points(1))


@pytest.mark.parametrize("burn_points", [0, -1, 1_000_000_001])
def test_a_burn_out_of_bounds_is_refused(burn_points: int) -> None:
    with pytest.raises(BasketJobError, match="1 to 1,000,000,000"):
        BasketRules(Decimal(1), Points(burn_points))


def test_baskets_that_cannot_be_presented_are_named_by_line() -> None:
    baskets = [basket(0, "h1", "s1", 0, 100), basket(1, "h1", "s9", 0, 100), basket(2, "h1", "s1", 0, 10**12)]
    with pytest.raises(CsvFileError) as raised:
        planned(baskets)
    assert [fault.line for fault in raised.value.faults] == [3, 4]
    assert "no merchant is given for the store 's9'" in raised.value.faults[0].text
    assert "earns 10,000,000,000 points" in raised.value.faults[1].text


# ---- what comes of it ----


@given(basket_lists())
@settings(max_examples=60)
def test_waves_come_to_what_one_basket_after_the_other_comes_to(baskets: list[Basket]) -> None:
    alliance = RulesAlliance(directory_of(STORES))
    tally = presented(alliance, planned(baskets))
    assert ledger_sums(alliance) == plain_sums(baskets)
    assert not tally.refused
    assert tally.replayed == 0


@given(basket_lists())
@settings(max_examples=30)
def test_a_second_run_changes_nothing_and_counts_the_same(baskets: list[Basket]) -> None:
    alliance = RulesAlliance(directory_of(STORES))
    first = presented(alliance, planned(baskets)).summary(0, 0, 0.0)
    leaves = list(alliance.leaves)
    second = presented(alliance, planned(baskets)).summary(0, 0, 0.0)
    assert alliance.leaves == leaves
    assert (second.replayed, first.replayed) == (second.transactions, 0)
    assert (second.earns, second.burns, second.points_issued, second.points_redeemed) == (
        first.earns,
        first.burns,
        first.points_issued,
        first.points_redeemed,
    )
    assert second.cards_opened == first.cards_opened


class InterruptedRun(RulesAlliance):
    """The client dies: before its next call arrives, or after the call was decided and before the answer came."""

    interrupted_at: int = -1
    decided: bool = False

    def submit(self, envelopes: Sequence[Envelope]) -> list[list[TransactionReceipt]]:
        if self.calls == self.interrupted_at:
            self.interrupted_at = -1
            if self.decided:
                super().submit(envelopes)
            raise InterruptedError
        return super().submit(envelopes)


@given(basket_lists(), st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=1, max_size=3))
@settings(max_examples=60)
def test_runs_interrupted_anywhere_leave_the_log_of_one_that_was_not(
    baskets: list[Basket], interruptions: list[tuple[int, bool]]
) -> None:
    whole = RulesAlliance(directory_of(STORES))
    presented(whole, planned(baskets))
    interrupted = InterruptedRun(directory_of(STORES))
    for at, decided in interruptions:
        interrupted.calls, interrupted.interrupted_at, interrupted.decided = 0, at, decided
        try:
            presented(interrupted, planned(baskets))
        except InterruptedError:
            continue
    interrupted.interrupted_at = -1
    presented(interrupted, planned(baskets))
    assert interrupted.leaves == whole.leaves


def test_one_burn_a_basket_even_where_the_set_number_is_reached_twice() -> None:
    alliance = RulesAlliance(directory_of(STORES))
    tally = presented(alliance, planned([basket(0, "h1", "s1", 0, 3_500), basket(1, "h1", "s2", 1, 100)]))
    assert balances_of(alliance) == {"h1": 16}
    assert tally.accepted == {"open": 1, "earn": 2, "burn": 2}


def test_burns_stay_in_the_month_of_their_basket() -> None:
    last_minute = 31 * 24 * 60 - 1
    alliance = RulesAlliance(directory_of(STORES))
    presented(
        alliance, planned([basket(0, "h1", "s1", last_minute, 1_000), basket(1, "h1", "s2", last_minute + 1, 100)])
    )
    assert ledger_sums(alliance)[2] == {("bakery", "2017-01"): 10}


def test_another_file_with_the_same_households_finds_their_cards() -> None:
    alliance = RulesAlliance(directory_of(STORES))
    presented(alliance, planned([basket(0, "h1", "s1", 0, 400)]))
    later = planned([basket(1, "h1", "s1", 60, 600), basket(2, "h1", "s2", 61, 100)])
    tally = presented(alliance, later)
    assert (tally.cards_known, dict(tally.refused)) == (1, {})
    assert balances_of(alliance) == {"h1": 1}
    leaves = list(alliance.leaves)
    presented(alliance, later)
    assert alliance.leaves == leaves


def test_another_file_with_the_same_basket_and_other_content_is_told_by_line() -> None:
    alliance = RulesAlliance(directory_of(STORES))
    presented(alliance, planned([basket(0, "h1", "s1", 0, 400)]))
    tally = presented(alliance, planned([basket(0, "h1", "s1", 0, 500), basket(1, "h1", "s1", 1, 200)]))
    assert tally.refused == {Outcome.REFERENCE_REUSED: 1}
    assert [str(refusal) for refusal in tally.refusals] == ["line 2: earn of basket b0 refused: REFERENCE_REUSED"]
    assert balances_of(alliance) == {"h1": 6}


def test_the_household_never_reaches_the_log() -> None:
    alliance = RulesAlliance(directory_of(STORES))
    presented(alliance, planned([basket(0, "household-4711", "s1", 0, 3_500)]))
    assert not any(b"4711" in leaf for leaf in alliance.leaves)
    assert len(alliance.leaves) == 3


def test_a_card_whose_opening_was_refused_is_opened_by_the_households_next_basket() -> None:
    alliance = RulesAlliance(directory_of(STORES))
    day = 24 * 60
    presented(alliance, planned([basket(0, "h2", "s1", 20 * day, 100)]))
    resumed = planned([basket(1, "h1", "s1", 0, 100), basket(2, "h1", "s2", 20 * day, 100)])
    tally = presented(alliance, resumed)
    assert tally.refused == {Outcome.LATE_PRESENTMENT: 2}
    assert (tally.accepted, balances_of(alliance)) == ({"open": 1, "earn": 1}, {"h1": 1, "h2": 1})
    leaves = list(alliance.leaves)
    presented(alliance, resumed)
    assert alliance.leaves == leaves


def test_each_merchant_signs_its_own() -> None:
    alliance = RulesAlliance(directory_of(STORES))
    presented(alliance, planned([basket(number, f"h{number}", f"s{number}", 0, 100) for number in (1, 2, 3, 4)]))
    signed = [decode_entry(leaf).envelope.signatures[0].keyid for leaf in alliance.leaves[1:]]
    assert signed == [key_of(MerchantId(merchant)).key_id for merchant in ("bakery", "cinema", "garage")]


def test_points_burned_are_owed_by_whoever_issued_them() -> None:
    alliance = RulesAlliance(directory_of(STORES))
    presented(alliance, planned([basket(0, "h1", "s1", 0, 600), basket(1, "h1", "s2", 1, 600)]))
    burned = [each for each in alliance.ledger.transactions.values() if each.kind.name == "BURN"]
    assert [(taken.lot.issuer, taken.points) for taken in burned[0].lots] == [("bakery", 6), ("cinema", 4)]
    assert datetime.date(2017, 1, 1) == burned[0].decided_on
