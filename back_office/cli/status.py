"""``clearing status``: how the alliance stands, and what needs somebody's attention."""

from __future__ import annotations

from typing import Any, Final

import typer

from back_office.cli.console import print_json, print_table, say
from back_office.cli.options import JsonOption, ReadKeyOption, settings_of
from back_office.cli.window import window_object
from back_office.client.connection import GatewayConnection, reader
from back_office.client.keys import list_keys
from back_office.client.moments import time_text
from back_office.client.status import ending_keys, late_windows, offset_status, unsettled
from back_office.client.windows import list_windows
from back_office.errors import BackOfficeError
from clearing.clock import system_time
from clearing.contract.entry import instant_of
from clearing.model import ClockKind, WindowId

NEEDS_ATTENTION: Final = 3
"""Exit code where something needs attention; 1 is, as everywhere, that the command could not say."""


def status(context: typer.Context, key: ReadKeyOption = None, as_json: JsonOption = False) -> None:
    """Show how the alliance stands, and what needs attention; then the exit code is 3.

    That is: no gateway serves, a window is unsettled though the month after it is over, a key ends within 30 days, the
    machine's time zone data differ from the logged offsets within two years, or those end within two years.
    """
    settings = settings_of(context)
    try:
        with GatewayConnection(settings) as connection:
            answer, calendar = connection.answer, connection.calendar
            serving = connection.is_serving()
            read_key = reader(settings, key)
            windows = list_windows(connection, read_key)
            keys = list_keys(connection, read_key)
    except BackOfficeError as error:
        _end([str(error)], {"gateway": {"address": settings.address, "serving": False}}, as_json=as_json)
        return
    accepted_at = instant_of(answer.accepted_at)
    is_system = ClockKind(answer.constitution.clock) is ClockKind.SYSTEM
    now = max(accepted_at, system_time()) if is_system else accepted_at
    offsets = offset_status(calendar, answer.constitution.time_zone, now)
    ending = ending_keys(keys, now)
    attention = [
        *([] if serving else [f"the gateway at {settings.address} answers, and does not serve; see its log"]),
        *late_windows(windows, calendar.window_at(now)),
        *(
            f"key {each.key.key_id} of {each.key.holder} ends at "
            f"{calendar.local_text(each.valid_until)}; register another: clearing key register"
            for each in ending
        ),
        *offsets.attention,
    ]
    shown = unsettled(windows)
    found: dict[str, Any] = {
        "gateway": {"address": settings.address, "serving": serving},
        "ledger": {
            "origin": answer.origin,
            "accepted_at": time_text(accepted_at),
            "local_time": calendar.local_text(accepted_at),
            "window": answer.window,
            "log_size": answer.log_size,
        },
        "unsettled_windows": [window_object(each) for each in shown],
        "keys_ending": [{"keyid": each.key.key_id, "valid_until": time_text(each.valid_until)} for each in ending],
        "offsets": {
            "time_zone": answer.constitution.time_zone,
            "known_until": time_text(offsets.known_until),
            "first_difference": None
            if offsets.difference is None
            else {
                "at": time_text(offsets.difference.at),
                "logged_minutes": offsets.difference.logged_minutes,
                "machine_minutes": offsets.difference.machine_minutes,
            },
        },
    }
    if not as_json:
        rows = [
            ("gateway", f"{settings.address}, {'serving' if serving else 'not serving'}"),
            ("ledger's time", calendar.local_text(accepted_at)),
            ("window", answer.window),
            ("entries", f"{answer.log_size:,}"),
            ("clock changes logged until", calendar.local_text(offsets.known_until)),
        ]
        print_table(answer.origin, ("what", "is"), rows)
        present = WindowId(calendar.window_at(now))
        print_table(
            "Windows that are not settled",
            ("window", "status", "month"),
            [(each.window, each.status_name, "is over" if each.window < present else "goes on") for each in shown],
        )
    _end(attention, found, as_json=as_json)


def _end(attention: list[str], found: dict[str, Any], *, as_json: bool) -> None:
    """Say what needs attention. Raises ``typer.Exit`` if anything does."""
    if as_json:
        print_json({**found, "attention": attention})
    elif attention:
        print_table("Needs attention", ("what",), [(each,) for each in attention])
    else:
        say("Nothing needs attention.")
    if attention:
        raise typer.Exit(NEEDS_ATTENTION)
