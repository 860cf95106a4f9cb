"""Which log a message is for, and an answer must come from: what everybody who signs or reads has of the alliance.

Two alliances may carry one origin and even one log key, such as one that was founded anew; they never have one log. So
what is signed names the log by its first entry, which says when and by whom it was founded.
"""

from __future__ import annotations

from dataclasses import dataclass

from clearing.contract.bounds import LOG_ID_BYTES
from clearing.log.merkle import leaf_hash
from clearing.log.note import Verifier


def log_id_of(founding: bytes) -> bytes:
    """The id of the log whose entry 0 has these bytes: the first 16 bytes of its leaf hash (RFC 6962, section 2.1)."""
    return leaf_hash(founding)[:LOG_ID_BYTES]


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """The alliance's public key, whose name is the origin, and the id of its log."""

    verifier: Verifier
    log_id: bytes
    """16 bytes."""

    @property
    def origin(self) -> str:
        """The name of the alliance's log, which every signed message carries."""
        return self.verifier.name
