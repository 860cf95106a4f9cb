"""An instruction as a command gives it: the options that sign it, and what it came to in print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from back_office.cli.console import print_json, say
from back_office.cli.options import settings_of
from back_office.client.connection import GatewayConnection
from back_office.client.drafts import write_draft
from back_office.client.home import home_of, signing_keys
from back_office.client.instructing import Instructor, RefusedError, Unsigned
from back_office.client.instruction_receipt import Decided
from back_office.client.moments import moment, time_text
from clearing.contract.bounds import slug
from clearing.contract.instruction import decode_instruction
from clearing.model import Outcome
from clearing.runtime.settings import Settings
from clearing.signing.keys import PrivateKey


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

    def instructor(self, connection: GatewayConnection) -> Instructor:
        """Whoever signs so. Raises ``ClearingError`` where a key cannot be read, or ``--at`` is no time."""
        at = moment(self.at, connection.calendar, "--at") if self.at is not None else None
        return Instructor(connection, self._keys(connection.settings), at, self.reference, self.office)

    def _keys(self, settings: Settings) -> list[PrivateKey]:
        if self.office is None or self.keys or settings.key:
            return signing_keys(settings, self.keys)
        return signing_keys(settings, [home_of(settings).key_file("merchant-office", slug(self.office, "--office"))])


def carry_out(context: typer.Context, signing: Signing, unsigned: Unsigned, *, done: str) -> None:
    """A whole command: one instruction, drafted or decided, and what it came to in print.

    Raises ``RefusedError`` besides what ``Instructor`` raises.
    """
    with GatewayConnection(settings_of(context)) as connection:
        instructor = signing.instructor(connection)
        if signing.draft is not None:
            draft(instructor, signing.draft, unsigned)
            return
        decided = instructor.instruct(unsigned)
    report(decided, done, as_json=signing.as_json)


def draft(instructor: Instructor, path: Path, unsigned: Unsigned) -> None:
    """Write it to a file instead of sending it, and say what comes next. Raises ``Rejection`` or ``DraftError``."""
    envelope = instructor.sign(unsigned)
    write_draft(path, envelope)
    instruction = decode_instruction(envelope.payload)
    until = f", until {time_text(instruction.expires_at)}" if instruction.expires_at is not None else ""
    say(
        f"{instruction.reference} is signed and written to {path}. Next: clearing sign {path}, then: "
        f"clearing instruct {path}{until}"
    )


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
