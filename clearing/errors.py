"""Every error this project raises on purpose, and the named reasons for which a call is turned away."""

from __future__ import annotations

from enum import IntEnum


class ClearingError(Exception):
    """Something a user, an operator or a merchant system can act on; its text says what and how."""


class LedgerContradictionError(ClearingError):
    """The ledger contradicts itself: an identity of its money, points, lots or entries does not hold.

    No correct program ever comes to it. It is raised where it would become durable, or be shown as right.
    """


def require_identity(holds: bool, identity: str) -> None:
    """Raise ``LedgerContradictionError`` unless it holds; ``identity`` says what, as a sentence.

    An ``assert`` would be gone where Python runs with ``-O``.
    """
    if not holds:
        raise LedgerContradictionError(
            f"the ledger contradicts itself, since this does not hold: {identity}. Record nothing more by hand, keep "
            "the log as it is, and report this"
        )


def is_defect(error: BaseException) -> bool:
    """Whether correct operation never brings it about: it is of one call, and logged with all that is known of it."""
    return isinstance(error, LedgerContradictionError) or not isinstance(error, ClearingError)


class ErrorReason(IntEnum):
    """Why a call never reached a decision; numbers and meanings as in ``clearing.v1.ErrorReason``."""

    MALFORMED_ENVELOPE = 1
    PAYLOAD_TYPE_MISMATCH = 2
    PAYLOAD_TOO_LARGE = 3
    MALFORMED_PAYLOAD = 4
    UNKNOWN_FIELDS = 5
    EMPTY_PRESENTMENT = 6
    INVALID_FIELD = 7
    MALFORMED_CARD_TOKEN = 8
    POINTS_OUT_OF_RANGE = 9
    CALL_SIZE = 10
    BAD_SIGNATURE = 11
    UNKNOWN_KEY = 12
    KEY_NOT_YET_VALID = 13
    KEY_EXPIRED = 14
    KEY_REVOKED = 15
    WRONG_ORIGIN = 16
    MERCHANT_MISMATCH = 17
    ROLE_NOT_ALLOWED = 18
    SECOND_SIGNATURE_REQUIRED = 19
    MISSING_PROOF_OF_POSSESSION = 20
    CLOCK_SKEW = 21
    BAD_TOKEN = 22
    TOKEN_EXPIRED = 23
    NOT_FOUND = 24
    POOL_FULL = 25
    FENCED = 26
    DATABASE_UNAVAILABLE = 27
    SHUTTING_DOWN = 28
    INTERNAL = 29
    CERTIFICATE_MISMATCH = 30
    CALL_RATE_LIMIT = 31
    TRANSACTION_RATE_LIMIT = 32
    OFFICE_MUST_SIGN = 40
    UNKNOWN_VERSION = 41
    WRONG_LOG = 45
    INSTRUCTION_EXPIRED = 46
    SIGNED_BEFORE_FOUNDING = 47
    SETTLEMENT_NOT_READY = 55


class Rejection(ClearingError):
    """A message or call that never reached a decision: nothing was recorded."""

    def __init__(
        self,
        reason: ErrorReason,
        message: str,
        *,
        field: str | None = None,
        envelope_index: int | None = None,
        retry_delay_ms: int | None = None,
    ) -> None:
        """``field`` is the path of the offending field in the payload, such as ``transactions[3].card_token``.

        ``envelope_index`` is the envelope's place in a call that carries several. ``retry_delay_ms`` is how long to
        wait before sending the same again, where that is known.
        """
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.envelope_index = envelope_index
        self.retry_delay_ms = retry_delay_ms

    def of_envelope(self, index: int) -> Rejection:
        """The same, of the envelope at this place in the call."""
        return Rejection(
            self.reason, self.message, field=self.field, envelope_index=index, retry_delay_ms=self.retry_delay_ms
        )

    def within(self, path: str) -> Rejection:
        """The same, of a field of the part at this path; the message begins with the field, as those of bounds do."""
        return Rejection(self.reason, f"{path}.{self.message}", field=f"{path}.{self.field}")
