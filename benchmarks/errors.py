"""What ends a bench."""

from __future__ import annotations

from clearing.errors import ClearingError


class BenchFailedError(ClearingError):
    """The figures are worth nothing: what was measured was not done right, or could not be begun."""
