"""Sending while the till does something else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from merchant_gateway.client.outbox.file import OutboxError
from merchant_gateway.client.outbox.values import Backlog, DrainReport

_LOGGER = logging.getLogger(__name__)


class BackgroundDrain(threading.Thread):
    """Drains whenever something waits. A program may end without stopping it: the file is safe at any moment."""

    def __init__(
        self,
        drain: Callable[[], DrainReport],
        backlog: Callable[[], Backlog],
        closing: threading.Event,
        every_seconds: float,
        on_report: Callable[[DrainReport], None] | None,
        on_failure: Callable[[OutboxError], None] | None,
    ) -> None:
        super().__init__(name="outbox-drain", daemon=True)
        self._drain = drain
        self._backlog = backlog
        self._closing = closing
        self._every_seconds = every_seconds
        self._on_report = on_report
        self._on_failure = on_failure

    def run(self) -> None:
        """Until the outbox is closed."""
        while not self._closing.wait(self._every_seconds):
            try:
                if self._backlog().queued == 0:
                    continue
                report = self._drain()
            except OutboxError as error:
                # A full disk may have room again later.
                if self._on_failure is None:
                    _LOGGER.warning("The outbox could not be drained: %s", error)
                else:
                    self._on_failure(error)
                continue
            if self._on_report is not None:
                self._on_report(report)
