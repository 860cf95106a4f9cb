"""The job: read a file of baskets, make sure that the alliance can take them, present them.

Run again, it presents the same and changes nothing; interrupted anywhere and run again, it ends where it would have
ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from clearing.calendar import moment_of
from clearing.clock import WallClock, system_time
from clearing.errors import ErrorReason
from clearing.model import MICROSECONDS_PER_DAY, ClockKind, Instant, MerchantId, Reference
from clearing.signing.keys import PrivateKey
from merchant_gateway.client.baskets.basket_file import read_baskets
from merchant_gateway.client.baskets.errors import BasketJobError
from merchant_gateway.client.baskets.presenting import Presenter, Progress
from merchant_gateway.client.baskets.store_merchants import hashed_store_merchants, read_store_merchants
from merchant_gateway.client.baskets.summary import BasketSummary, Kind, Tally
from merchant_gateway.client.baskets.waves import BasketPlan, BasketRules, PlannedBasket, plan_baskets
from merchant_gateway.client.connection import Alliance, MerchantConnection
from merchant_gateway.client.gateway_error import GatewayError

NAMED = 5
"""How many of many are named in an error."""


def submit_baskets(
    path: Path,
    connection: MerchantConnection,
    keys: Mapping[MerchantId, PrivateKey],
    rules: BasketRules,
    card_secret: bytes,
    *,
    store_merchants: Path | None = None,
    progress: Progress = lambda done, total: None,
    wall_clock: WallClock = system_time,
) -> BasketSummary:
    """Present all baskets of a file, each signed by its merchant's key.

    ``store_merchants`` names the mapping file; without one, stores are given to the merchants in ``keys`` by hash.
    ``card_secret`` is what the households' card tokens are derived from (``merchant_gateway.client.card_secret``).

    Before anything is presented it raises ``CsvUnreadableError`` or ``CsvFileError`` for the files, and
    ``BasketJobError`` where the alliance would refuse what they hold. ``GatewayError`` and ``ReceiptError`` may end it
    at any time: run it again.
    """
    alliance = connection.alliance()
    plan = _plan(path, alliance, keys, rules, card_secret, store_merchants)
    earning = [planned for wave in plan.waves for planned in wave.baskets]
    if earning:
        _require_keys(earning, keys)
        _require_open_stores(earning, connection, keys)
        _require_recent(earning, connection, keys, alliance, wall_clock)
    tally = Tally()
    started = time.monotonic()
    Presenter(connection.log, keys, rules.burn_points).present(plan, connection.submit, tally, progress)
    return tally.summary(plan.baskets, plan.baskets_without_points, time.monotonic() - started)


def _plan(
    path: Path,
    alliance: Alliance,
    keys: Mapping[MerchantId, PrivateKey],
    rules: BasketRules,
    card_secret: bytes,
    store_merchants: Path | None,
) -> BasketPlan:
    decimals, calendar = alliance.currency_decimals, alliance.calendar
    baskets = read_baskets(path, currency_decimals=decimals, calendar=calendar)
    if store_merchants is not None:
        merchants = read_store_merchants(store_merchants)
    else:
        merchants = hashed_store_merchants({basket.store for basket in baskets}, keys.keys())
    return plan_baskets(path, baskets, rules, merchants, card_secret, currency_decimals=decimals, calendar=calendar)


def _require_keys(earning: Sequence[PlannedBasket], keys: Mapping[MerchantId, PrivateKey]) -> None:
    missing = sorted({planned.merchant for planned in earning} - keys.keys())
    if missing:
        raise BasketJobError(f"there is no key of {_some(missing)}; give each merchant's own key")


def _require_open_stores(
    earning: Sequence[PlannedBasket], connection: MerchantConnection, keys: Mapping[MerchantId, PrivateKey]
) -> None:
    """A refusal is final, so a basket of a store that is opened a minute too late could never be presented again."""
    merchant_of = connection.stores(keys[earning[0].merchant])
    wrong = sorted(
        {
            f"{planned.basket.store} of {planned.merchant}"
            for planned in earning
            if merchant_of.get(planned.basket.store) != planned.merchant
        }
    )
    if wrong:
        raise BasketJobError(
            f"{len(wrong):,} stores are not open under the merchant they are mapped to: {_some(wrong)}; have the "
            "operator open them (clearing store open), or correct the mapping"
        )


def _require_recent(
    earning: Sequence[PlannedBasket],
    connection: MerchantConnection,
    keys: Mapping[MerchantId, PrivateKey],
    alliance: Alliance,
    wall_clock: WallClock,
) -> None:
    """Refuse to begin where most baskets would be refused as late; unless an earlier run began it."""
    now = wall_clock() if alliance.clock is ClockKind.SYSTEM else alliance.accepted_at
    days = alliance.late_presentment_days
    earliest = Instant(now - days * MICROSECONDS_PER_DAY)
    late = sum(planned.basket.purchased_at < earliest for planned in earning)
    if 2 * late <= len(earning) or _is_known(earning[0], connection, keys):
        return
    told = f"{late:,} of {len(earning):,} baskets happened before {moment_of(earliest):%Y-%m-%d %H:%M} UTC"
    if alliance.clock is ClockKind.SYSTEM:
        raise BasketJobError(
            f"{told}; the alliance refuses for good what is presented more than {days} days later. To replay past "
            "months, found an alliance whose ledger follows the presentments' times: clearing init --clock presented"
        )
    raise BasketJobError(
        f"{told}; the ledger's time has come to {moment_of(alliance.accepted_at):%Y-%m-%d %H:%M} UTC and never goes "
        f"back, and what is more than {days} days older is refused for good. Present files in the order of time, to an "
        "alliance founded before the first basket"
    )


def _is_known(planned: PlannedBasket, connection: MerchantConnection, keys: Mapping[MerchantId, PrivateKey]) -> bool:
    reference = Reference(f"{Kind.EARN}-{planned.basket.basket_id}")
    try:
        connection.transaction(keys[planned.merchant], planned.merchant, reference)
    except GatewayError as error:
        if error.reason is ErrorReason.NOT_FOUND:
            return False
        raise
    return True


def _some(names: Sequence[str]) -> str:
    """The first few of the names."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
