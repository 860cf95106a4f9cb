"""``clearing statement``: download a closed window's statements."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from clearing.cli.connection import GatewayConnection, reader
from clearing.cli.console import print_json, say
from clearing.cli.options import JsonOption, ReadKeyOption, WindowArgument, settings_of
from clearing.errors import ClearingError
from clearing.keys import PrivateKey
from clearing.v1.settlement_pb2 import GetStatementRequest, StatementFormat

FORMATS = (
    StatementFormat.STATEMENT_FORMAT_JSON,
    StatementFormat.STATEMENT_FORMAT_CSV,
    StatementFormat.STATEMENT_FORMAT_XLSX,
)


class StatementFileError(ClearingError):
    """A statement cannot be written to its file."""


def statement(
    context: typer.Context,
    window: WindowArgument,
    merchant: Annotated[
        str | None, typer.Option(help="Whose. Without it: the alliance's, or a merchant's own.")
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that receives them, in a folder named for the window.")
    ] = Path("statements"),
    key: ReadKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download a closed window's statement as JSON, CSV and Excel workbook."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        read_key = reader(settings, key)
        files = download_statement(connection, read_key, window, merchant)
    folder = output / window
    written = {str(write_statement(folder, name, content)): sha256(content).hexdigest() for name, content in files}
    if as_json:
        print_json([{"file": path, "sha256": digest} for path, digest in written.items()])
        return
    for path, digest in written.items():
        say(f"{path}  SHA-256 {digest}")
    say("The log holds the SHA-256 of the JSON files once they are proposed; clearing audit verify compares them.")


def statement_json(connection: GatewayConnection, key: PrivateKey, window: str, merchant: str | None = None) -> bytes:
    """A statement in JSON: the alliance's or, for a merchant's key, its own. Raises ``GatewayError``."""
    return _statement(connection, key, window, merchant, StatementFormat.STATEMENT_FORMAT_JSON)[1]


def download_statement(
    connection: GatewayConnection, key: PrivateKey, window: str, merchant: str | None
) -> list[tuple[str, bytes]]:
    """A statement's files, by name: JSON, CSV and workbook. Raises ``GatewayError``."""
    return [_statement(connection, key, window, merchant, form) for form in FORMATS]


def _statement(
    connection: GatewayConnection, key: PrivateKey, window: str, merchant: str | None, form: StatementFormat.ValueType
) -> tuple[str, bytes]:
    request = GetStatementRequest(window=window, merchant=merchant or "", format=form)
    answer = connection.call(connection.settlement.GetStatement, request, key)
    return answer.file_name, answer.content


def write_statement(folder: Path, name: str, content: bytes) -> Path:
    """Write the file, whole or not at all. Raises ``StatementFileError``."""
    path = folder / Path(name).name  # whatever the gateway says, nothing is written beside the folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".unfinished-", delete=False) as unfinished:
            unfinished.write(content)
        temporary = Path(unfinished.name)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise StatementFileError(f"cannot write {path}: {error.strerror}") from None
    return path
