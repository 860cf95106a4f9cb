"""Windows, the months that are settled: listing and closing them."""

from __future__ import annotations

from dataclasses import dataclass

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Unsigned
from back_office.errors import BackOfficeError
from clearing.calendar import first_day, next_window
from clearing.contract import bounds
from clearing.model import Instant, WindowId
from clearing.rules.directory import WindowStatus
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import CloseWindow, Instruction
from clearing.v1.settlement_pb2 import ListWindowsRequest


@dataclass(frozen=True, slots=True)
class Window:
    """A window, and how far its settlement has come."""

    window: WindowId
    status: WindowStatus
    first_index: int
    """Of its entries in the log."""
    end_index: int
    """The index behind its last entry."""
    alliance_statement_digest: bytes | None
    """SHA-256 of the alliance's statement as it was proposed last; None before that."""
    payments_proposed: int
    payments_recorded: int

    @property
    def entries(self) -> int:
        """How many entries it has."""
        return self.end_index - self.first_index

    @property
    def status_name(self) -> str:
        """How far its settlement has come, in a word."""
        return self.status.name.lower()


def list_windows(connection: GatewayConnection, key: PrivateKey) -> list[Window]:
    """All windows from the founding on, in order. Raises ``GatewayError``."""
    return [
        Window(
            WindowId(each.window),
            WindowStatus(each.status),
            each.range.first_index,
            each.range.end_index,
            each.alliance_statement_digest or None,
            each.payments_proposed,
            each.payments_recorded,
        )
        for each in connection.call(connection.settlement.ListWindows, ListWindowsRequest(), key).windows
    ]


def find_window(connection: GatewayConnection, key: PrivateKey, window: str) -> Window:
    """The window of this name. Raises ``Rejection`` if it is no month, ``BackOfficeError`` if there is none."""
    asked = bounds.window(window, "WINDOW")
    windows = list_windows(connection, key)
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


def closing(connection: GatewayConnection, window: str) -> Unsigned:
    """Close a month that is over. Raises ``Rejection`` if it is no month."""
    action = Instruction(close_window=CloseWindow(window=window))
    return Unsigned(action, ("close", window), not_before=closing_time(connection, window))
