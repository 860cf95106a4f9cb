"""Where the gateway cannot listen."""

from __future__ import annotations

from clearing.errors import ClearingError


class ListenError(ClearingError):
    """Calls or metrics cannot be served where they were told to."""
