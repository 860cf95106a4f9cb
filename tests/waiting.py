"""Waiting for what must come to pass, with so much patience that no slow or busy machine uses it up."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 120
"""How long a test waits for anything before it fails. Where all is well, it costs nothing."""
LOOK_SECONDS = 0.01


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(LOOK_SECONDS)
