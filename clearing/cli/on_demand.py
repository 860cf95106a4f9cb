"""Commands that are imported when they are called: what lists merchants need not load a database's libraries first."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group


class Command(NamedTuple):
    """Where a command is, and under which heading the help shows it."""

    place: str
    """Module and attribute, such as ``clearing.cli.sign:instruct``: a function, or a Typer application of several."""
    panel: str


COMMANDS = {
    "demo": Command("clearing.cli.demo.run:demo", "Newcomer"),
    "bench": Command("clearing.cli.bench.run:bench", "Newcomer"),
    "submit": Command("clearing.cli.submit:submit", "Merchant"),
    "window": Command("clearing.cli.window:app", "Finance"),
    "statement": Command("clearing.cli.statement:statement", "Finance"),
    "audit": Command("clearing.cli.audit:app", "Auditor"),
    "init": Command("clearing.cli.init:init", "Operator"),
    "gateway": Command("clearing.cli.gateway:gateway", "Operator"),
    "merchant": Command("clearing.cli.merchant:app", "Operator"),
    "store": Command("clearing.cli.store:app", "Operator"),
    "key": Command("clearing.cli.key:app", "Operator"),
    "terms": Command("clearing.cli.terms:app", "Operator"),
    "expire": Command("clearing.cli.expire:expire", "Operator"),
    "sign": Command("clearing.cli.sign:sign", "Operator"),
    "instruct": Command("clearing.cli.sign:instruct", "Operator"),
}
"""All commands by name, in the order in which the help shows them."""


class CommandsOnDemand(TyperGroup):
    """The commands of ``COMMANDS``."""

    # Typer does not export the types of contexts and commands that these methods have.
    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, imported now; None if there is none."""
        command = COMMANDS.get(cmd_name)
        if command is None:
            return None
        module, attribute = command.place.split(":")
        found = getattr(import_module(module), attribute)
        app = typer.Typer()
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=cmd_name, rich_help_panel=command.panel)
        else:
            app.command(cmd_name, rich_help_panel=command.panel)(found)
        return get_group(app).commands[cmd_name]
