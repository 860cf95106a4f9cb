"""The application of all commands, and the one place where errors become an exit code."""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, TextIO, cast

import typer

from back_office.cli.console import complain, note, say
from back_office.cli.on_demand import CommandsOnDemand
from back_office.cli.streams import MessageStream, ResultStream
from back_office.host.exception_text import exception_text, text_of
from back_office.host.logs import configure_logs, log_uncaught
from clearing.errors import ClearingError
from clearing.runtime.settings import load_settings

app = typer.Typer(
    name="clearing",
    cls=CommandsOnDemand,
    help="A clearing house for a loyalty alliance: one shared card, a signed ledger, a settled and audited month.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        try:
            say(f"clearing {version('loyalty-clearing')}")
        except PackageNotFoundError:
            say("clearing, run from a folder where it is not installed")
        raise typer.Exit


@app.callback()
def _settings(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of keys and data (CLEARING_HOME; ./clearing-data).")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The gateway (CLEARING_ADDRESS; 127.0.0.1:7070).")
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Connect with TLS; who signed the gateway's certificate (CLEARING_TLS_CA)."),
    ] = None,
    print_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    configure_logs()
    log_uncaught()  # here, where Typer has set a hook of its own already
    context.obj = load_settings(home=home, address=address, tls_ca=tls_ca)


def run() -> None:
    """Run the command that the arguments name; whatever goes wrong, a user reads one clear message.

    Raises ``SystemExit`` with its exit code.
    """
    sys.stdout, sys.stderr = cast(TextIO, ResultStream(sys.stdout)), cast(TextIO, MessageStream(sys.stderr))
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except ClearingError as error:
        complain(str(error))
    except Exception as error:  # the outermost place: a defect of ours must not show a user our code
        _report_defect(error)
    else:
        return
    sys.exit(1)


def _report_defect(error: Exception) -> None:
    details = exception_text((type(error), error, error.__traceback__))
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="clearing-failure-", suffix=".txt", delete=False
    ) as file:
        file.write(details)
    complain(f"clearing failed in a way it should not ({type(error).__name__}): {text_of(error)}")
    note(f"The details are in {file.name}; send them to whoever maintains this program.")
