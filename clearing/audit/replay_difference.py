"""What a replay ends with where the log is not what the rules make of it."""

from __future__ import annotations

from clearing.errors import ClearingError


class ReplayDifference(ClearingError):
    """An entry that is not what the rules make of the log before it."""

    def __init__(self, index: int, what: str) -> None:
        """``index`` is the entry's; ``what`` says what differs."""
        super().__init__(f"entry {index}: {what}")
        self.index = index
        self.what = what
