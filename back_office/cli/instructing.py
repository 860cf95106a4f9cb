"""From an action to its receipt: build the instruction, sign it, send or draft it, verify what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import typer

from back_office.cli.console import print_json, say, time_text
from back_office.cli.options import settings_of
from back_office.client.connection import GatewayConnection
from back_office.client.drafts import write_draft
from back_office.client.home import home_of, signing_keys
from back_office.client.instruction_receipt import Decided, decided_by
from back_office.client.moments import moment
from back_office.client.outcomes import explanation
from clearing.clock import system_time
from clearing.contract.bounds import reference as checked_reference
from clearing.contract.bounds import slug
from clearing.contract.entry import timestamp_of
from clearing.contract.instruction import PAYLOAD_TYPE, decode_instruction
from clearing.errors import ClearingError
from clearing.model import MICROSECONDS_PER_DAY, ClockKind, Instant, Outcome
from clearing.runtime.settings import Settings
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


@dataclass(frozen=True, slots=True)
class Signing:
    """How an instruction is signed, and what becomes of it: what the command's options say."""

    keys: list[Path] | None = None
    draft: Path | None = None
    at: str | None = None
    reference: str | None = None
    as_json: bool = False
    office: str | None = None
    """The merchant as whose office it is signed; None: as the alliance's people."""

    def keys_of(self, settings: Settings) -> list[PrivateKey]:
        """The keys that sign. Raises ``ClearingError``."""
        if self.office is None or self.keys or settings.key:
            return signing_keys(settings, self.keys)
        return signing_keys(settings, [home_of(settings).key_file("merchant-office", slug(self.office, "--office"))])


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


@dataclass(slots=True)
class Instructor:
    """Signs instructions with the keys that were named and puts them to the gateway, one after the other."""

    connection: GatewayConnection
    signing: Signing
    keys: list[PrivateKey] = field(init=False)

    def __post_init__(self) -> None:
        """Read the keys."""
        self.keys = self.signing.keys_of(self.connection.settings)

    def instruct(
        self,
        action: Instruction,
        *reference_parts: str,
        also_signs: Sequence[PrivateKey] = (),
        not_before: Instant | None = None,
    ) -> Decided:
        """Have it decided. ``action`` is an instruction with nothing but its action.

        Without a reference of the caller's own, an instruction that was refused before is put again under a new one,
        and so is one whose reference was used with other content: a refusal is final for its reference, but what it was
        refused for may have changed, such as a mistyped name. Doing a thing twice is what the rules refuse.

        Raises ``GatewayError`` if it was not decided, ``Rejection`` if it is malformed, ``ReceiptError``.
        """
        reference = self.signing.reference or reference_of(*reference_parts)
        decided = self._decided(self._envelope(action, reference, also_signs, not_before))
        if self.signing.reference is not None:
            return decided
        for attempt in range(2, ATTEMPTS_MAX):
            if decided.outcome is not Outcome.REFERENCE_REUSED and (
                decided.outcome is Outcome.ACCEPTED or not decided.replayed
            ):
                break
            again = reference_of(*reference_parts, str(attempt))
            decided = self._decided(self._envelope(action, again, also_signs, not_before))
        return decided

    def require(
        self,
        action: Instruction,
        *reference_parts: str,
        also_signs: Sequence[PrivateKey] = (),
        not_before: Instant | None = None,
    ) -> Decided:
        """Have it decided, and accepted. Raises ``RefusedError`` besides what ``instruct`` raises."""
        decided = self.instruct(action, *reference_parts, also_signs=also_signs, not_before=not_before)
        if decided.outcome is not Outcome.ACCEPTED:
            raise RefusedError(decided)
        return decided

    def draft(
        self,
        path: Path,
        action: Instruction,
        *reference_parts: str,
        also_signs: Sequence[PrivateKey] = (),
        not_before: Instant | None = None,
    ) -> None:
        """Write it to a file instead, for others to sign. Raises ``Rejection`` or ``DraftError``."""
        reference = self.signing.reference or reference_of(*reference_parts)
        envelope = self._envelope(action, reference, also_signs, not_before)
        write_draft(path, envelope)
        expires_at = decode_instruction(envelope.payload).expires_at
        until = f", until {time_text(expires_at)}" if expires_at is not None else ""
        say(
            f"{reference} is signed and written to {path}. Next: clearing sign {path}, then: clearing instruct {path}"
            f"{until}"
        )

    def _envelope(
        self, action: Instruction, reference: str, also_signs: Sequence[PrivateKey], not_before: Instant | None
    ) -> Envelope:
        instruction = Instruction()
        instruction.CopyFrom(action)
        instruction.origin = self.connection.alliance.origin
        instruction.log_id = self.connection.alliance.log_id
        instruction.reference = checked_reference(reference, "reference")
        instruction.merchant = self.signing.office or ""
        issued_at = self._issued_at(not_before)
        days = DAYS_FOR_OTHERS_TO_SIGN if self.signing.draft is not None else DAYS_TO_ARRIVE
        instruction.issued_at.CopyFrom(timestamp_of(issued_at))
        instruction.expires_at.CopyFrom(timestamp_of(Instant(issued_at + days * MICROSECONDS_PER_DAY)))
        payload = instruction.SerializeToString(deterministic=True)
        decode_instruction(payload)  # what the gateway would refuse is refused here, naming the same field
        signers = {key.key_id: key for key in (*self.keys, *also_signs)}
        return sign_envelope(payload, PAYLOAD_TYPE, signers.values())

    def _issued_at(self, not_before: Instant | None) -> Instant:
        now = system_time()
        constitution = self.connection.constitution
        if self.signing.at is not None:
            return moment(self.signing.at, self.connection.calendar, "--at")
        if ClockKind(constitution.clock) is ClockKind.SYSTEM:
            return now
        newest = self.connection.ledger_time
        # Never beyond the wall clock: the gateway takes no message from the future.
        return min(max(newest, not_before or newest), max(now, newest))

    def _decided(self, envelope: Envelope) -> Decided:
        decided = decided_by(envelope, self.connection.instruct(envelope), self.connection.alliance.verifier)
        self.connection.heard_of(decided.accepted_at)
        return decided


def carry_out(
    context: typer.Context,
    signing: Signing,
    action: Instruction,
    *reference_parts: str,
    done: str,
    also_signs: Sequence[PrivateKey] = (),
) -> None:
    """A whole command: one instruction, drafted or decided, and what it came to in print.

    Raises ``RefusedError`` besides what ``Instructor`` raises.
    """
    settings: Settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        instructor = Instructor(connection, signing)
        if signing.draft is not None:
            instructor.draft(signing.draft, action, *reference_parts, also_signs=also_signs)
            return
        decided = instructor.instruct(action, *reference_parts, also_signs=also_signs)
    report(decided, done, as_json=signing.as_json)


def report(decided: Decided, done: str, *, as_json: bool) -> None:
    """Print what an instruction came to. Raises ``RefusedError`` unless it was accepted."""
    if as_json:
        print_json(as_object(decided))
    if decided.outcome is not Outcome.ACCEPTED:
        raise RefusedError(decided)
    if not as_json:
        before = " It was decided before; nothing has changed since." if decided.replayed else ""
        say(f"{done} Entry {decided.entry_index} of {time_text(decided.accepted_at)} ({decided.reference}).{before}")


def as_object(decided: Decided) -> dict[str, Any]:
    """What an instruction came to, for programs."""
    return {
        "reference": decided.reference,
        "outcome": decided.outcome.name,
        "entry_index": decided.entry_index,
        "accepted_at": time_text(decided.accepted_at),
        "replayed": decided.replayed,
    }
