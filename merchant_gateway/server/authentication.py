"""Step 2 of a transaction's way at the gateway: who sends, checked early, on the caller's own thread.

The writer checks authority again at the entry's time; doing it here first keeps what cannot pass out of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clearing.clock import WallClock, next_accepted_at
from clearing.deciding.authentication import (
    SignedInstruction,
    SignedPresentment,
    authenticate_founding,
    authenticate_instruction,
    authenticate_presentment,
)
from clearing.deciding.caller import Caller
from clearing.errors import ErrorReason, Rejection
from clearing.model import Instant
from clearing.rules.authority import (
    require_not_from_future,
    require_valid_key,
)
from clearing.rules.directory import Directory
from clearing.rules.versions import rules_at
from clearing.signing.envelope import SignatureHolds
from clearing.signing.keys import SignatureCheck, leading_that_hold, signature_holds
from clearing.signing.tokens import read_token
from clearing.v1.envelope_pb2 import Envelope
from clearing.writer.writer import Writer
from merchant_gateway.server.certificates import Certificates
from merchant_gateway.server.decided_before import DecidedBefore
from merchant_gateway.server.limits import RateLimiter

LeadingThatHold = Callable[[Sequence[SignatureCheck]], int]


class Authenticator:
    """Knows the alliance's keys through the writer's newest directory."""

    def __init__(
        self,
        writer: Writer,
        wall_clock: WallClock,
        *,
        certificates: Certificates,
        limiter: RateLimiter,
        decided_before: DecidedBefore,
        leading_that_hold: LeadingThatHold = leading_that_hold,
    ) -> None:
        self._writer = writer
        self._wall_clock = wall_clock
        self._decided_before = decided_before
        self.certificates = certificates
        """Whose connections they are."""
        self.limiter = limiter
        """What is left of each merchant's share."""
        self.leading_that_hold = leading_that_hold
        """How many of several signatures hold, from the first on."""

    def presentment(self, envelope: Envelope, holds: SignatureHolds = signature_holds) -> SignedPresentment:
        """The presentment in an envelope whose signers may present it now. Raises ``Rejection``.

        ``holds`` checks a signature, or knows already.
        """
        directory = self.directory()
        message = authenticate_presentment(envelope, directory, holds)
        presentment, signers = message.presentment, message.signers
        at = self._entry_time(directory, presentment.presented_at)
        rules = rules_at(directory, at)
        rules.require_presenter(directory, presentment, signers)
        try:
            self._require_not_from_future(presentment.presented_at, "presented_at")
            rules.require_current_presentment(directory, presentment, signers, at)
        except Rejection:
            if not self._decided_before.presentment(presentment):
                raise
        return message

    def instruction(self, envelope: Envelope) -> SignedInstruction:
        """The instruction in an envelope whose signers may instruct it now. Raises ``Rejection``."""
        directory = self._writer.directory
        if directory is None:
            founding = authenticate_founding(envelope)
            self._require_not_from_future(founding.instruction.issued_at, "issued_at")
            return founding
        message = authenticate_instruction(envelope, directory)
        instruction, signers = message.instruction, message.signers
        at = self._entry_time(directory, instruction.issued_at)
        rules = rules_at(directory, at)
        rules.require_instructor(directory, instruction, signers)
        try:
            self._require_not_from_future(instruction.issued_at, "issued_at")
            rules.require_current_instruction(directory, instruction, signers, at)
        except Rejection:
            if not self._decided_before.instruction(instruction):
                raise
        return message

    def caller(self, authorization: str | None) -> Caller:
        """Who signed a read's token. Raises ``Rejection`` unless it holds and its key is valid now."""
        if authorization is None or not authorization.startswith("Bearer "):
            raise Rejection(
                ErrorReason.BAD_TOKEN, 'this read needs a token in the metadata "authorization: Bearer <token>"'
            )
        directory = self.directory()
        key_id = read_token(
            authorization.removeprefix("Bearer "), directory.origin, directory.public_key, self._wall_clock()
        )
        registration = require_valid_key(directory, key_id, self.ledger_time()).registration
        return Caller(key_id, registration.role, registration.merchant)

    def directory(self) -> Directory:
        """The alliance; ``Rejection`` while there is none."""
        directory = self._writer.directory
        if directory is None:
            raise Rejection(
                ErrorReason.NOT_FOUND, "no alliance is founded on this log yet; the operator does: clearing init"
            )
        return directory

    def ledger_time(self) -> Instant:
        """The time of day as the ledger has it: an entry made now would get it."""
        directory = self.directory()
        return next_accepted_at(directory.constitution.clock, self._latest(), self._wall_clock(), self._latest())

    def _latest(self) -> Instant:
        head = self._writer.head
        return head.accepted_at if head is not None else Instant(0)

    def _entry_time(self, directory: Directory, message_time: Instant) -> Instant:
        """The time an entry of this message would have now."""
        return next_accepted_at(directory.constitution.clock, self._latest(), self._wall_clock(), message_time)

    def _require_not_from_future(self, message_time: Instant, field: str) -> None:
        """Refuse with CLOCK_SKEW a message whose time lies well after the wall clock's."""
        # Under the presented clock such a message would drag the ledger's time along, past months still to come.
        require_not_from_future(message_time, self._wall_clock(), "gateway's clock", field)
