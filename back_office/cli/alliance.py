"""``clearing alliance``: what holds in the alliance, and changing it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from back_office.cli.console import print_json, print_table, require_consent, say
from back_office.cli.instructing import Signing, carry_out
from back_office.cli.options import (
    AtOption,
    DraftOption,
    JsonOption,
    KeysOption,
    ReferenceOption,
    YesOption,
    settings_of,
)
from back_office.client.connection import GatewayConnection
from back_office.client.constitution import adopting, amending, changes_of, versions_in
from back_office.client.machine_offsets import offset_text
from back_office.client.moments import moment, time_text
from back_office.client.offset_correction import correcting, correction
from clearing.calendar import LocalCalendar
from clearing.clock import system_time
from clearing.contract.bounds import AMENDABLE
from clearing.contract.bounds import date as checked_date
from clearing.contract.bounds import window as checked_window
from clearing.contract.entry import instant_of
from clearing.model import ClockKind, SettlementMethod
from clearing.rules.offsets import corrected
from clearing.v1.instruction_pb2 import AdoptRules, AmendConstitution
from clearing.v1.operations_pb2 import GetAllianceResponse

app = typer.Typer(no_args_is_help=True, help="Show and amend what holds in the alliance.")

_NAMES = {
    "late_presentment_days": "days a transaction may be presented late",
    "lot_lifetime_months": "months that lots live",
    "notice_days": "days of notice of an amendment",
}
"""In words, what can be amended."""


@app.command()
def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what is in force, what was changed since the founding, and what is to come. Takes no key."""
    with GatewayConnection(settings_of(context)) as connection:
        answer = connection.answer
    if as_json:
        print_json(_as_object(answer))
        return
    constitution = answer.constitution
    say(f"{answer.origin}, {answer.log_size:,} entries, in the window {answer.window}", "bold")
    rows = [
        ("unit", constitution.unit),
        ("currency", f"{constitution.currency} with {constitution.currency_decimals} decimals"),
        ("time zone", constitution.time_zone),
        ("settlement method", SettlementMethod(constitution.settlement_method).name.lower()),
        ("clock", ClockKind(constitution.clock).name.lower()),
        ("four eyes", "yes" if constitution.four_eyes else "no"),
        *((_NAMES[name], f"{getattr(constitution, name):,}") for name in AMENDABLE),
        ("rules version", str(constitution.rules_version)),
        ("settlement version", str(constitution.settlement_version)),
    ]
    print_table("In force today", ("what", "is"), rows)
    if answer.amendments:
        print_table(
            "Amendments",
            ("from", *AMENDABLE, "entry"),
            [
                (
                    each.amendment.effective_from,
                    *(_number(each.amendment, name) for name in AMENDABLE),
                    f"{each.entry_index:,}",
                )
                for each in answer.amendments
            ],
            numbers=(*AMENDABLE, "entry"),
        )
    if answer.adoptions:
        print_table(
            "Versions adopted",
            ("from window", "rules", "settlement", "entry"),
            [
                (
                    each.adoption.window,
                    str(each.adoption.rules_version),
                    str(each.adoption.settlement_version),
                    f"{each.entry_index:,}",
                )
                for each in answer.adoptions
            ],
            numbers=("rules", "settlement", "entry"),
        )


@app.command()
def amend(
    context: typer.Context,
    effective_from: Annotated[
        str, typer.Option("--from", metavar="DATE", help="First day, as YYYY-MM-DD; the constitution's notice ahead.")
    ],
    late_presentment_days: Annotated[
        int | None, typer.Option(help="Days a transaction may be presented late, 1 to 366.")
    ] = None,
    lot_lifetime_months: Annotated[
        int | None, typer.Option(help="Months that lots live which are earned from then on, 1 to 120.")
    ] = None,
    notice_days: Annotated[int | None, typer.Option(help="Days of notice of later amendments, 0 to 366.")] = None,
    yes: YesOption = False,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Amend the constitution from a day on. It takes two people: two --key, or --draft and `clearing sign`.

    Unit, currency, time zone, clock and settlement method never change.
    """
    amendment = AmendConstitution(
        effective_from=checked_date(effective_from, "--from").isoformat(),
        late_presentment_days=late_presentment_days,
        lot_lifetime_months=lot_lifetime_months,
        notice_days=notice_days,
    )
    with GatewayConnection(settings_of(context)) as connection:
        answer = connection.answer
    if not as_json:
        print_table(
            f"What the amendment from {effective_from} on does",
            ("what", "today", "then, without it", "with it"),
            [
                (_NAMES[each.name], f"{each.now:,}", f"{each.before:,}", f"{each.after:,}")
                for each in changes_of(answer, amendment)
            ],
            numbers=("today", "then, without it", "with it"),
        )
        say(f"An amendment begins at least {answer.constitution.notice_days:,} days after the day of its entry.")
    require_consent("Sign this?", yes=yes)
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json),
        amending(amendment),
        done=f"The constitution is amended from {effective_from} on.",
    )


@app.command()
def adopt(
    context: typer.Context,
    window: Annotated[str, typer.Option(metavar="WINDOW", help="The first month, as YYYY-MM; after the ledger's.")],
    rules_version: Annotated[int | None, typer.Option(help="Without it: as it is by then.")] = None,
    settlement_version: Annotated[int | None, typer.Option(help="Without it: as it is by then.")] = None,
    yes: YesOption = False,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have another version of the rules or of the settlement hold from a month on. It takes two people.

    Every machine that serves, stands by or audits needs a program that has the versions: install it first.
    """
    checked_window(window, "--window")
    with GatewayConnection(settings_of(context)) as connection:
        answer = connection.answer
    before = versions_in(answer, window)
    adoption = AdoptRules(
        window=window,
        rules_version=before.rules if rules_version is None else rules_version,
        settlement_version=before.settlement if settlement_version is None else settlement_version,
    )
    if not as_json:
        now = answer.constitution
        print_table(
            f"What holds from {window} on",
            ("version of", f"in {answer.window}", "then, without it", "with it"),
            [
                ("the rules", str(now.rules_version), str(before.rules), str(adoption.rules_version)),
                (
                    "the settlement",
                    str(now.settlement_version),
                    str(before.settlement),
                    str(adoption.settlement_version),
                ),
            ],
        )
    require_consent("Sign this?", yes=yes)
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json),
        adopting(adoption),
        done=f"From {window} on rules {adoption.rules_version} and settlement {adoption.settlement_version} hold.",
    )


@app.command()
def offsets(
    context: typer.Context,
    effective_from: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="From when on. Without it: the first difference, two days ahead at least."
        ),
    ] = None,
    yes: YesOption = False,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the log say the time zone's offsets that this machine's time zone data know, for 20 years ahead.

    Days and months follow from the offsets that are logged. `clearing status` tells when they have to be corrected.
    """
    with GatewayConnection(settings_of(context)) as connection:
        answer, calendar = connection.answer, connection.calendar
    accepted_at = instant_of(answer.accepted_at)
    now = max(accepted_at, system_time()) if ClockKind(answer.constitution.clock) is ClockKind.SYSTEM else accepted_at
    start = None if effective_from is None else moment(effective_from, calendar, "--from")
    found = correction(calendar, answer.constitution.time_zone, now, start)
    if found is None:
        if as_json:
            print_json({"outcome": None})
        else:
            say("The log says what this machine's time zone data say; nothing is to be signed.")
        return
    if not as_json:
        after = LocalCalendar(corrected(calendar.offsets, found.action))
        times = sorted({change.at for each in (calendar, after) for change in each.offsets.changes})
        rows = [
            (time_text(each), offset_text(calendar.offset_minutes_at(each)), offset_text(after.offset_minutes_at(each)))
            for each in [found.action.effective_from, *(each for each in times if each > found.action.effective_from)]
        ]
        print_table(
            "Ahead of UTC", ("from", "as logged", "as corrected"), [row for row in rows if row[1] != row[2]] or rows[:1]
        )
        before = time_text(calendar.offsets.known_until)
        say(f"Known until {time_text(found.action.known_until)}; in the log until now: {before}.")
    require_consent("Sign this?", yes=yes)
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json),
        correcting(found.action),
        done="The time zone's offsets are corrected.",
    )


def _number(amendment: AmendConstitution, name: str) -> str:
    return f"{getattr(amendment, name):,}" if amendment.HasField(name) else ""  # type: ignore[arg-type]  # the stubs know literal names only


def _as_object(answer: GetAllianceResponse) -> dict[str, Any]:
    constitution = answer.constitution
    return {
        "origin": answer.origin,
        "log_verifier": constitution.log_verifier,
        "log_size": answer.log_size,
        "window": answer.window,
        "unit": constitution.unit,
        "currency": constitution.currency,
        "currency_decimals": constitution.currency_decimals,
        "time_zone": constitution.time_zone,
        "settlement_method": SettlementMethod(constitution.settlement_method).name,
        "clock": ClockKind(constitution.clock).name,
        "four_eyes": constitution.four_eyes,
        **{name: getattr(constitution, name) for name in AMENDABLE},
        "rules_version": constitution.rules_version,
        "settlement_version": constitution.settlement_version,
        "amendments": [
            {
                "effective_from": each.amendment.effective_from,
                **{
                    name: getattr(each.amendment, name)
                    for name in AMENDABLE
                    if each.amendment.HasField(name)  # type: ignore[arg-type]  # the stubs know literal names only
                },
                "entry_index": each.entry_index,
            }
            for each in answer.amendments
        ],
        "adoptions": [
            {
                "window": each.adoption.window,
                "rules_version": each.adoption.rules_version,
                "settlement_version": each.adoption.settlement_version,
                "entry_index": each.entry_index,
            }
            for each in answer.adoptions
        ],
    }
