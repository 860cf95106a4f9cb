"""What closed windows settle to, ready before anybody proposes it: the writer judges by it and must not wait.

Each closed window that is not approved is computed at the close, at start and at take-over, by whoever settles
(``Settlements``), and what it comes to is kept here. Where it is not there yet, a proposal is not decided.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from clearing.closing import Closing
from clearing.contract.instruction import decode_proposal
from clearing.errors import ClearingError
from clearing.model import MerchantId, ProposeSettlement, WindowId
from clearing.rules.case import no_settlement
from clearing.rules.directory import Directory
from clearing.v1 import instruction_pb2
from settlement.reports.files import StatementFormat
from settlement.serving.from_store import Settlements

logger = structlog.get_logger()

LOOK_SECONDS: Final = 0.1
"""How often it is looked whether another window is closed."""
RETRY_SECONDS: Final = 5.0
"""After a settlement that failed."""
CLOSE_SECONDS: Final = 5.0


class JudgedSettlements(Closing):
    """``Settlements``, and what of them the writer judges by. For any thread."""

    def __init__(self, settlements: Settlements) -> None:
        """Of a log that is still to be taken up; ``watch`` begins with it."""
        self._settlements = settlements
        self._known: dict[WindowId, ProposeSettlement] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, directory_of: Callable[[], Directory | None]) -> None:
        """Compute what is closed and not approved, now and whenever more is; ``directory_of`` is what is committed."""
        self._thread = threading.Thread(target=self._run, args=(directory_of,), name="judged settlements", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Compute no more; return without waiting for long for what is under way."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def settlement_of(self, window: WindowId) -> ProposeSettlement:
        """What the window settles to, without waiting. Raises ``Rejection`` with SETTLEMENT_NOT_READY."""
        known = self._known.get(window)
        return known if known is not None else no_settlement(window)

    def proposal(self, window: WindowId) -> bytes:
        """See ``Settlements``. Afterwards the writer knows it, too."""
        proposal = self._settlements.proposal(window)
        self._known[window] = decode_proposal(instruction_pb2.ProposeSettlement.FromString(proposal))
        return proposal

    def payments(self, window: WindowId, merchant: MerchantId | None) -> bytes:
        """See ``Settlements``."""
        return self._settlements.payments(window, merchant)

    def statement(self, window: WindowId, merchant: MerchantId | None, form: StatementFormat) -> bytes:
        """See ``Settlements``."""
        return self._settlements.statement(window, merchant, form)

    def _run(self, directory_of: Callable[[], Directory | None]) -> None:
        wait_seconds = LOOK_SECONDS
        while not self._closing.wait(wait_seconds):
            directory = directory_of()
            wait_seconds = LOOK_SECONDS if directory is None or self._settle_closed(directory) else RETRY_SECONDS

    def _settle_closed(self, directory: Directory) -> bool:
        """Compute what is missing; whether that was done."""
        for window, closed in directory.closed_windows.items():
            if closed.approved or window in self._known:
                continue
            try:
                self.proposal(window)
            except ClearingError as error:
                logger.warning("settlement_not_ready", window=window, error=str(error))
                return False
            except Exception:  # whatever it was, the next window's settlement must not wait for a restart
                logger.exception("settlement_failed", window=window)
                return False
        return True
