"""Settles a small alliance from a text in the domain's own words, one line a fact.

    prices alliance 2026-01-16 issuance 0.012 redemption 0.011
    prices b 2026-01-01 issuance 0.02 redemption 0.015
    prices a-b 2026-01-10 redemption 0.02          agreed between issuer a and redeemer b
    before                                         what follows happened before the window
    during                                         what follows happened in it (the beginning)
    a earn 1000 on 2026-01-05
    a burn 100 at b on 2026-01-20
    a expiry 10 on 2026-01-31

The words for movements are those of ``clearing.rules.movements.Movement``, in lower case. Merchants a, b, c and d are
members; the window is January 2026, entries 5 up to, not including, 40. Without prices of their own a point costs
its issuer 0.01 in the pool and is worth 0.01 to its redeemer.
"""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal

from clearing.model import (
    ClockKind,
    CreateAlliance,
    EntryIndex,
    Instant,
    MerchantId,
    Points,
    SettlementMethod,
    WindowId,
    WindowRange,
)
from clearing.rules.directory import ClosedWindow, Directory, Merchant, Prices, TermsScope
from clearing.rules.movements import Flow, Movement
from settlement.v1.month_end import settle
from settlement.v1.statements import Settlement
from tests.zones import calendar_of, offsets_of

JANUARY = WindowId("2026-01")
LOG_ROOT = hashlib.sha256(b"root of the log").digest()
MERCHANTS = tuple(MerchantId(name) for name in "abcd")


def settled(
    text: str,
    method: SettlementMethod = SettlementMethod.ISSUER_PAYS,
    currency: str = "EUR",
    decimals: int = 2,
    merchants: tuple[MerchantId, ...] = MERCHANTS,
) -> Settlement:
    """The settlement of what the text tells."""
    terms: dict[TermsScope, tuple[Prices, ...]] = {}
    flows: dict[str, list[Flow]] = {"before": [], "during": []}
    part = "during"
    for words in filter(None, map(str.split, text.splitlines())):
        if words in (["before"], ["during"]):
            part = words[0]
        elif words[0] == "prices":
            scope = scope_of(words[1])
            named = dict(zip(words[3::2], words[4::2], strict=True))
            issuance = Decimal(named["issuance"]) if "issuance" in named else None
            prices = Prices(datetime.date.fromisoformat(words[2]), issuance, Decimal(named["redemption"]))
            terms[scope] = (*terms.get(scope, ()), prices)
        else:
            flows[part].append(flow_of(words))
    return settle(
        directory_of(terms, method, currency, decimals, merchants), JANUARY, flows["before"], flows["during"], LOG_ROOT
    )


def scope_of(word: str) -> TermsScope:
    if word == "alliance":
        return None, None
    issuer, _, redeemer = word.partition("-")
    return MerchantId(issuer), MerchantId(redeemer) if redeemer else None


def flow_of(words: list[str]) -> Flow:
    """``a burn 100 at b on 2026-01-20``; ``on`` is a day of the month in which the points were issued."""
    named = dict(zip(words[3::2], words[4::2], strict=True))
    redeemer = MerchantId(named["at"]) if "at" in named else None
    movement = Movement[words[1].upper()]
    issued_in = datetime.date.fromisoformat(named["on"]).replace(day=1)
    return Flow(movement, MerchantId(words[0]), redeemer, issued_in, "PTS", Points(int(words[2])))


def directory_of(
    terms: dict[TermsScope, tuple[Prices, ...]],
    method: SettlementMethod,
    currency: str = "EUR",
    decimals: int = 2,
    merchants: tuple[MerchantId, ...] = MERCHANTS,
) -> Directory:
    """An alliance whose January 2026 is closed."""
    constitution = CreateAlliance(
        unit="PTS",
        currency=currency,
        currency_decimals=decimals,
        time_zone="Europe/Berlin",
        settlement_method=method,
        clock=ClockKind.PRESENTED,
        log_verifier="",
        operator_keys=(),
        four_eyes=False,
        lot_lifetime_months=12,
        late_presentment_days=30,
        issuance_price=Decimal("0.01"),
        redemption_price=Decimal("0.01"),
        rules_version=1,
        notice_days=0,
        settlement_version=1,
        zone_offsets=offsets_of("Europe/Berlin"),
    )
    return Directory(
        origin="points.example",
        constitution=constitution,
        founded_in=WindowId("2025-12"),
        calendar=calendar_of("Europe/Berlin"),
        founded_at=Instant(0),
        merchants={name: Merchant(name, f"={name.upper()} & Söhne") for name in merchants},
        terms=terms,
        closed_windows={
            JANUARY: ClosedWindow(WindowRange(EntryIndex(5), EntryIndex(40)), merchants),
        },
    )
