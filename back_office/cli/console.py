"""How the commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDTH_IN_PIPES = 200
"""Columns a table may take where no terminal says how wide it is."""


def _console(*, stderr: bool) -> Console:
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=None if is_terminal else WIDTH_IN_PIPES)


output = _console(stderr=False)
messages = _console(stderr=True)


def say(text: str, style: str = "") -> None:
    """One line of a result, never broken: it may be copied."""
    output.print(Text(text, style), soft_wrap=True)


def note(text: str, style: str = "") -> None:
    """One line beside the result."""
    messages.print(Text(text, style), soft_wrap=True)


def complain(text: str) -> None:
    """What went wrong, in red; one line unless the error itself names several faults."""
    note("Error: " + "\n".join(" ".join(line.split()) for line in text.splitlines()), "red")


def require_consent(question: str, *, yes: bool) -> None:
    """Ask whoever sits at the terminal, and end the command unless the answer is yes.

    With ``yes``, or where nobody sits there, it goes on: a script has been told what to do.
    """
    if not yes and sys.stdin.isatty():
        # On standard error, so that it is seen where the result goes to a file.
        messages.print(Text(f"{question} [y/N] "), end="", soft_wrap=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise typer.Abort


def print_json(value: Any) -> None:
    """A result for a program."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> None:
    """A table; the columns named in ``numbers`` are aligned to the right."""
    output.print(make_table(title, columns, rows, numbers))


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> Group:
    """A table below its title, with plain cells: nothing in them is taken for markup."""
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(Text(column), justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # Not the table's own title, which would be broken to the width of a narrow table.
    return Group(*([Text(title, "bold")] if title else []), table)


def progress_bar() -> Progress:
    """A bar for long work; it goes to standard error, and only to a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        disable=not messages.is_terminal,
    )
