"""``clearing sign`` and ``clearing instruct``: what others do with a draft."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.console import print_json, require_consent, say
from back_office.cli.instructing import report
from back_office.cli.options import JsonOption, YesOption, settings_of
from back_office.client.connection import GatewayConnection
from back_office.client.drafts import read_draft, require_unsigned_by, sign_draft
from back_office.client.home import signing_keys
from back_office.client.instructing import send
from back_office.client.wording import words

DraftArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The draft, as --draft has written it.")]


def sign(
    context: typer.Context,
    file: DraftArgument,
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", help="Private key file that signs; repeatable. Without it: as for other commands."),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show in plain words what a draft says, and add a signature to it. No gateway is needed."""
    envelope, _ = read_draft(file)
    said = words(envelope.payload)
    if not as_json:
        width = max(len(name) for name, _ in said)
        for name, value in said:
            say(f"{name:<{width}}  {value}")
        for signature in envelope.signatures:
            say(f"{'signed by':<{width}}  {signature.keyid}")
    keys = signing_keys(settings_of(context), key)
    require_unsigned_by(file, envelope, keys)
    require_consent("Sign this?", yes=yes)
    sign_draft(file, envelope, keys)
    if as_json:
        print_json({"says": [list(line) for line in said], "signed_by": [each.keyid for each in envelope.signatures]})
    else:
        say(f"Signed by {', '.join(each.key_id for each in keys)}. Send it with: clearing instruct {file}", "bold")


def instruct(context: typer.Context, file: DraftArgument, as_json: JsonOption = False) -> None:
    """Send a draft that everyone needed has signed. Safe to repeat."""
    envelope, _ = read_draft(file)
    with GatewayConnection(settings_of(context)) as connection:
        decided = send(connection, envelope)
    ((name, value), *_) = words(envelope.payload)
    report(decided, f"Done: {name} {value}.", as_json=as_json)
