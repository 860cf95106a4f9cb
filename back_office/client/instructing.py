"""From an action to its receipt: an instruction is built, signed, sent, and what comes back is verified.

What is instructed is an ``Unsigned``; the other modules here make them, each for its subject. An ``Instructor`` signs
them with somebody's keys: ``instruct`` and ``require`` send them, ``sign`` gives them to others who sign first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from back_office.client.connection import GatewayConnection
from back_office.client.instruction_receipt import Decided, decided_by
from back_office.client.outcomes import explanation
from clearing.clock import system_time
from clearing.contract.bounds import reference as checked_reference
from clearing.contract.entry import timestamp_of
from clearing.contract.instruction import PAYLOAD_TYPE, decode_instruction
from clearing.errors import ClearingError
from clearing.model import MICROSECONDS_PER_DAY, ClockKind, Instant, Outcome
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.instruction_pb2 import Instruction

REFERENCE_LENGTH_MAX = 64
DAYS_TO_ARRIVE = 1
"""How long after it was signed an instruction that is sent at once may be decided."""
DAYS_FOR_OTHERS_TO_SIGN = 14
"""The same of a draft, which others are to sign first."""
ATTEMPTS_MAX = 100
"""After so many refusals of the same instruction, each under a reference of its own, something else is wrong."""


class RefusedError(ClearingError):
    """The instruction was decided, and refused."""

    def __init__(self, decided: Decided) -> None:
        """Say which, why, and what to do."""
        before = " (it was decided before)" if decided.replayed else ""
        super().__init__(
            f"{decided.reference} was refused: {decided.outcome.name}{before}: {explanation(decided.outcome)}"
        )
        self.decided = decided


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What is to be instructed, before anybody has signed it."""

    action: Instruction
    """An instruction with nothing but its action."""
    reference_parts: tuple[str, ...]
    """What its reference is made of where the caller names none: the same act has the same, so repeating is safe."""
    also_signs: tuple[PrivateKey, ...] = ()
    """Keys that sign beside the instructor's, such as one that is registered and thereby proves that it is there."""
    not_before: Instant | None = None
    """Under the presented clock: it is signed at this time at the earliest."""


def reference_of(*parts: str) -> str:
    """A reference made of what is instructed: the same parts give the same.

    Long ones end in a digest, and those of parts that no reference may hold: what is wrong with these is named where
    the instruction is checked.
    """
    joined = "-".join(part for part in parts if part)
    allowed = "".join(character for character in joined if "!" <= character <= "~")
    if allowed == joined and len(joined) <= REFERENCE_LENGTH_MAX:
        return joined
    digest = sha256(joined.encode(errors="backslashreplace")).hexdigest()[:12]
    return f"{allowed[: REFERENCE_LENGTH_MAX - 13]}-{digest}"


@dataclass(frozen=True, slots=True)
class Instructor:
    """Signs instructions with somebody's keys and puts them to the gateway, one after the other."""

    connection: GatewayConnection
    keys: Sequence[PrivateKey]
    """At least one; the first is the one that reads where an instruction needs to know something."""
    at: Instant | None = None
    """When they are signed. None: now; under the presented clock, the ledger's newest time."""
    reference: str | None = None
    """Of the one instruction that is given. None: made of what is instructed."""
    office: str | None = None
    """The merchant as whose office it is signed; None: as the alliance's people."""

    @property
    def reader(self) -> PrivateKey:
        """The key that reads."""
        return self.keys[0]

    def instruct(self, unsigned: Unsigned) -> Decided:
        """Have it decided, whatever the outcome is.

        Without a reference of the caller's own, an instruction that was refused before is put again under a new one,
        and so is one whose reference was used with other content: a refusal is final for its reference, but what it was
        refused for may have changed, such as a mistyped name. Doing a thing twice is what the rules refuse.

        Raises ``GatewayError`` if it was not decided, ``Rejection`` if it is malformed, ``ReceiptError``.
        """
        parts = unsigned.reference_parts
        decided = self._decided(unsigned, self.reference or reference_of(*parts))
        if self.reference is not None:
            return decided
        for attempt in range(2, ATTEMPTS_MAX):
            if decided.outcome is not Outcome.REFERENCE_REUSED and (
                decided.outcome is Outcome.ACCEPTED or not decided.replayed
            ):
                break
            decided = self._decided(unsigned, reference_of(*parts, str(attempt)))
        return decided

    def require(self, unsigned: Unsigned) -> Decided:
        """Have it decided, and accepted. Raises ``RefusedError`` besides what ``instruct`` raises."""
        decided = self.instruct(unsigned)
        if decided.outcome is not Outcome.ACCEPTED:
            raise RefusedError(decided)
        return decided

    def sign(self, unsigned: Unsigned) -> Envelope:
        """Sign it for others to sign too, who have some days; see ``drafts``. Raises ``Rejection`` if malformed."""
        reference = self.reference or reference_of(*unsigned.reference_parts)
        return self._envelope(unsigned, reference, DAYS_FOR_OTHERS_TO_SIGN)

    def _envelope(self, unsigned: Unsigned, reference: str, days: int) -> Envelope:
        instruction = Instruction()
        instruction.CopyFrom(unsigned.action)
        instruction.origin = self.connection.alliance.origin
        instruction.log_id = self.connection.alliance.log_id
        instruction.reference = checked_reference(reference, "reference")
        instruction.merchant = self.office or ""
        issued_at = self._issued_at(unsigned.not_before)
        instruction.issued_at.CopyFrom(timestamp_of(issued_at))
        instruction.expires_at.CopyFrom(timestamp_of(Instant(issued_at + days * MICROSECONDS_PER_DAY)))
        payload = instruction.SerializeToString(deterministic=True)
        decode_instruction(payload)  # what the gateway would refuse is refused here, naming the same field
        signers = {key.key_id: key for key in (*self.keys, *unsigned.also_signs)}
        return sign_envelope(payload, PAYLOAD_TYPE, signers.values())

    def _issued_at(self, not_before: Instant | None) -> Instant:
        if self.at is not None:
            return self.at
        now = system_time()
        if ClockKind(self.connection.constitution.clock) is ClockKind.SYSTEM:
            return now
        newest = self.connection.ledger_time
        # Never beyond the wall clock: the gateway takes no message from the future.
        return min(max(newest, not_before or newest), max(now, newest))

    def _decided(self, unsigned: Unsigned, reference: str) -> Decided:
        return send(self.connection, self._envelope(unsigned, reference, DAYS_TO_ARRIVE))


def send(connection: GatewayConnection, envelope: Envelope) -> Decided:
    """Have a signed instruction decided; its receipt is verified. Safe to repeat.

    Raises ``GatewayError`` if it was not decided, ``ReceiptError`` if what came back proves something else.
    """
    decided = decided_by(envelope, connection.instruct(envelope), connection.alliance.verifier)
    connection.heard_of(decided.accepted_at)
    return decided
