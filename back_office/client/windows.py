"""Windows as the gateway lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from back_office.client.connection import GatewayConnection
from back_office.errors import BackOfficeError
from clearing.calendar import first_day, next_window
from clearing.contract import bounds
from clearing.model import Instant
from clearing.rules.directory import WindowStatus
from clearing.signing.keys import PrivateKey
from clearing.v1.settlement_pb2 import ListWindowsRequest, Window


def list_all(connection: GatewayConnection, key: PrivateKey) -> Sequence[Window]:
    """All windows from the founding on, in order."""
    return connection.call(connection.settlement.ListWindows, ListWindowsRequest(), key).windows


def find_window(connection: GatewayConnection, key: PrivateKey, window: str) -> Window:
    """The window of this name. Raises ``Rejection`` if it is no month, ``BackOfficeError`` if there is none."""
    asked = bounds.window(window, "WINDOW")
    windows = list_all(connection, key)
    for each in windows:
        if each.window == asked:
            return each
    raise BackOfficeError(
        f"the ledger has no window {window}; its windows are {windows[0].window} to {windows[-1].window}"
    )


def closing_time(connection: GatewayConnection, window: str) -> Instant:
    """The first instant at which the window can be closed. Raises ``Rejection`` if it is no month."""
    following = next_window(bounds.window(window, "WINDOW"))
    return connection.calendar.start_of_day(first_day(following))


def status_name(window: Window) -> str:
    """How far the window's settlement has come, in a word."""
    return WindowStatus(window.status).name.lower()


def window_object(window: Window) -> dict[str, Any]:
    """A window for programs."""
    return {
        "window": window.window,
        "status": status_name(window),
        "first_index": window.range.first_index,
        "end_index": window.range.end_index,
        "payments_proposed": window.payments_proposed,
        "payments_recorded": window.payments_recorded,
        "alliance_statement_sha256": window.alliance_statement_digest.hex() or None,
    }


def statement_differs(window: str, proposed: str, other: str) -> BackOfficeError:
    """The alliance's statement is not the one that was proposed, or not the one that was read.

    ``proposed`` is the digest that is logged, ``other`` the one computed or read, in hexadecimal.
    """
    return BackOfficeError(
        f"the statement proposed for {window} has the SHA-256 {proposed}, and not {other}; read it again with "
        f"clearing window show {window}, and have it proposed again if it is not right"
    )
