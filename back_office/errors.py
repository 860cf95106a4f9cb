"""What the back office cannot do as it was asked to."""

from __future__ import annotations

from clearing.errors import ClearingError


class BackOfficeError(ClearingError):
    """What was asked for cannot be done, or not so; the text says why, and what to do."""
