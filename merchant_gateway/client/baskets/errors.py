"""What keeps a file of baskets from being presented."""

from __future__ import annotations

from clearing.errors import ClearingError


class BasketJobError(ClearingError):
    """The alliance would refuse what the files hold, or what is to be done with them; the text says what to do."""
