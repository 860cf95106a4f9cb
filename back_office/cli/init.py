"""``clearing init``: found an alliance, with keys, a database, and the log's first entry."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from back_office.cli.console import print_json, say
from back_office.cli.options import JsonOption, settings_of
from back_office.client.home import Home, home_of
from back_office.client.machine_offsets import machine_offsets
from back_office.client.moments import moment, time_text
from back_office.errors import BackOfficeError
from back_office.host.founding import Founded, found_alliance
from clearing.calendar import LocalCalendar
from clearing.clock import system_time
from clearing.model import MICROSECONDS_PER_DAY, ClockKind, Instant, SettlementMethod, ZoneOffsets
from clearing.v1.instruction_pb2 import CreateAlliance


class MethodName(StrEnum):
    """Who pays whom for points, as it is typed."""

    ISSUER_PAYS = "issuer-pays"
    POOL = "pool"


class ClockName(StrEnum):
    """Where entries take their time from, as it is typed."""

    SYSTEM = "system"
    PRESENTED = "presented"


def init(
    context: typer.Context,
    origin: Annotated[
        str, typer.Argument(help="Name of the alliance and its log, without spaces, such as cards.example/log.")
    ],
    unit: Annotated[str, typer.Option(help="What a balance counts, in capital letters.")] = "PTS",
    currency: Annotated[str, typer.Option(help="Currency merchants settle in (ISO 4217).")] = "EUR",
    currency_decimals: Annotated[int, typer.Option(help="Decimals of the currency.")] = 2,
    time_zone: Annotated[str, typer.Option(help="IANA time zone that decides days and months.")] = "UTC",
    settlement_method: Annotated[MethodName, typer.Option(help="Who pays whom.")] = MethodName.ISSUER_PAYS,
    clock: Annotated[
        ClockName, typer.Option(help="presented: the messages' own times, for demonstrations and past months.")
    ] = ClockName.SYSTEM,
    four_eyes: Annotated[bool, typer.Option("--four-eyes", help="Weighty instructions take two people.")] = False,
    operator: Annotated[list[str] | None, typer.Option(help="Who holds an operator's key; repeatable.")] = None,
    lot_lifetime_months: Annotated[int, typer.Option(help="Months after which points expire.")] = 24,
    late_presentment_days: Annotated[int, typer.Option(help="Days a transaction may be presented late.")] = 7,
    notice_days: Annotated[int, typer.Option(help="Days before which an amendment of all this is told.")] = 30,
    issuance_price: Annotated[str, typer.Option(help="What an issuer pays a point (pool).")] = "0.0100",
    redemption_price: Annotated[str, typer.Option(help="What a redeemer gets a point.")] = "0.0090",
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When it is founded (presented clock only).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Found an alliance: make its keys and write the log's first entry.

    This and `clearing gateway` are the only commands that touch the database. If it is interrupted, run it again.
    """
    settings = settings_of(context)
    constitution = CreateAlliance(
        unit=unit,
        currency=currency,
        currency_decimals=currency_decimals,
        time_zone=time_zone,
        settlement_method=SettlementMethod[settlement_method.name].value,  # type: ignore[arg-type]  # the stubs' wrapper
        clock=ClockKind[clock.name].value,  # type: ignore[arg-type]  # the same
        four_eyes=four_eyes,
        lot_lifetime_months=lot_lifetime_months,
        late_presentment_days=late_presentment_days,
        notice_days=notice_days,
        issuance_price=issuance_price,
        redemption_price=redemption_price,
    )
    issued_at = _founding_time(at, clock, time_zone)
    founded = found_alliance(settings, origin, constitution, operator or ["founder"], issued_at)
    if as_json:
        print_json(
            {
                "origin": origin,
                "log_verifier": founded.verifier.vkey,
                "accepted_at": time_text(founded.decided.accepted_at),
                "operator_keys": {str(path): key.key_id for path, key in founded.operator_keys.items()},
            }
        )
        return
    _print_founded(founded, home_of(settings))


def _founding_time(at: str | None, clock: ClockName, time_zone: str) -> Instant:
    now = system_time()
    if at is None:
        return now
    if clock is not ClockName.PRESENTED:
        raise BackOfficeError("--at goes with --clock presented; under the system clock the alliance is founded now")
    nearly = moment(at, LocalCalendar(ZoneOffsets(0, (), now)), "--at")
    offsets = machine_offsets(time_zone, Instant(nearly - 2 * MICROSECONDS_PER_DAY))
    founded_at = moment(at, LocalCalendar(offsets), "--at")
    if founded_at > now:
        raise BackOfficeError(f"--at: {at} lies in the future, and the presented clock is for the past")
    return founded_at


def _print_founded(founded: Founded, home: Home) -> None:
    decided = founded.decided
    say(f"{founded.verifier.name} is founded: entry {decided.entry_index} of {time_text(decided.accepted_at)}.", "bold")
    say(f"Verifier key, which auditors need:  {founded.verifier.vkey}")
    for path, key in founded.operator_keys.items():
        say(f"Operator's key {key.key_id}:  {path}")
    say(f"Keep {home.log_key_file} with the gateway only, and hand each operator's key to its holder.")
    say("Next:")
    say("  clearing gateway                                                  serve (leave it running)")
    say("  clearing merchant admit bakery --name 'Bakery Ltd'                admit a merchant")
    say("  clearing key register --role merchant --merchant bakery --new     make and register its key")
    say("  clearing store open bakery bakery-1                               open a store")
