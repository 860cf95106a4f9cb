"""Options that several commands have, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearing.runtime.settings import Settings

SIGNING = "Signing"

KeysOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--key",
        help="Private key file that signs; give it again for a second person. "
        "Without it: CLEARING_KEY, or the one operator's key in the home folder.",
        rich_help_panel=SIGNING,
    ),
]
OfficeOption = Annotated[
    str | None,
    typer.Option(
        metavar="MERCHANT",
        help="Sign as this merchant's office, whose key is then, without --key or CLEARING_KEY, "
        "keys/merchant-office-MERCHANT.pem in the home. Without it: as the alliance's people.",
        rich_help_panel=SIGNING,
    ),
]
DraftOption = Annotated[
    Path | None,
    typer.Option(
        help="Write the signed instruction to this file instead of sending it, for others to sign: clearing sign.",
        rich_help_panel=SIGNING,
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="When it is signed, in ISO 8601. Without it: now; under the presented clock the ledger's newest time.",
        rich_help_panel=SIGNING,
    ),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(
        help="Reference of the instruction. Without it one is made of what is instructed, so that repeating is safe.",
        rich_help_panel=SIGNING,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ReadKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="Private key file of whoever reads. Without it: CLEARING_KEY, or the one operator's key in the home.",
    ),
]
StoresOption = Annotated[
    Path | None,
    typer.Option(
        "--stores",
        metavar="MAPPING.csv",
        help="Whose the stores are: CSV with the header store_id,merchant. Without it: shared out by hash.",
    ),
]
WindowArgument = Annotated[str, typer.Argument(metavar="WINDOW", help="The month, as YYYY-MM.")]


def settings_of(context: typer.Context) -> Settings:
    """The settings that the main command has loaded."""
    settings = context.find_object(Settings)
    assert settings is not None, "the main command runs before every other"
    return settings
