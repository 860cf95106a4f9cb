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
    """Module and attribute, such as ``back_office.cli.sign:instruct``: a function, or a Typer application."""
    panel: str


COMMANDS = {
    "demo": Command("back_office.demonstration.run:demo", "Newcomer"),
    "bench": Command("benchmarks.run:bench", "Newcomer"),
    "submit": Command("back_office.cli.submit:submit", "Merchant"),
    "window": Command("back_office.cli.window:app", "Finance"),
    "statement": Command("back_office.cli.statement:statement", "Finance"),
    "audit": Command("back_office.cli.audit:app", "Auditor"),
    "init": Command("back_office.cli.init:init", "Operator"),
    "gateway": Command("back_office.cli.gateway:gateway", "Operator"),
    "status": Command("back_office.cli.status:status", "Operator"),
    "alliance": Command("back_office.cli.alliance:app", "Operator"),
    "merchant": Command("back_office.cli.merchant:app", "Operator"),
    "store": Command("back_office.cli.store:app", "Operator"),
    "key": Command("back_office.cli.key:app", "Operator"),
    "terms": Command("back_office.cli.terms:app", "Operator"),
    "expire": Command("back_office.cli.expire:expire", "Operator"),
    "sign": Command("back_office.cli.sign:sign", "Operator"),
    "instruct": Command("back_office.cli.sign:instruct", "Operator"),
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
