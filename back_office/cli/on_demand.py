"""Commands that are imported when they are called: what lists merchants need not load a database's libraries first."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group

from back_office.cli.console import complain
from back_office.cli.extras import BACK_OFFICE, GATEWAY, WRONG_INSTALLATION, how_to_install, is_of_an_extra


class Command(NamedTuple):
    """Where a command is, and under which heading the help shows it."""

    place: str
    """Module and attribute, such as ``back_office.cli.sign:instruct``: a function, or a Typer application."""
    panel: str
    extra: str = BACK_OFFICE
    """The extra of this project that brings all packages that it needs."""


COMMANDS = {
    "demo": Command("back_office.demonstration.run:demo", "Newcomer", GATEWAY),
    "bench": Command("benchmarks.run:bench", "Newcomer", GATEWAY),
    "submit": Command("back_office.cli.submit:submit", "Merchant"),
    "window": Command("back_office.cli.window:app", "Finance"),
    "statement": Command("back_office.cli.statement:statement", "Finance"),
    "audit": Command("back_office.cli.audit:app", "Auditor"),
    "init": Command("back_office.cli.init:init", "Operator", GATEWAY),
    "gateway": Command("back_office.cli.gateway:gateway", "Operator", GATEWAY),
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
        app = typer.Typer()
        try:
            found = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if not is_of_an_extra(error):
                raise
            found = _not_installed(how_to_install(error, command.extra))
            any_arguments = {"allow_extra_args": True, "ignore_unknown_options": True}
            needs = f"Not installed: it needs the extra {command.extra}."
            app.command(cmd_name, rich_help_panel=command.panel, help=needs, context_settings=any_arguments)(found)
            return get_group(app).commands[cmd_name]
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=cmd_name, rich_help_panel=command.panel)
        else:
            app.command(cmd_name, rich_help_panel=command.panel)(found)
        return get_group(app).commands[cmd_name]


def _not_installed(how: str) -> Callable[[], None]:
    """A command in the place of one whose packages are missing: the help lists it, and calling it says ``how``."""

    def say_how() -> None:
        complain(how)
        raise typer.Exit(WRONG_INSTALLATION)

    return say_how
