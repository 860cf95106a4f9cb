"""Statements of a closed window: downloading them, and comparing their digest with the one in the log."""

from __future__ import annotations

import json
from pathlib import Path

from back_office.client.connection import GatewayConnection
from back_office.errors import BackOfficeError
from clearing.contract.receipt import receipt_of
from clearing.errors import ErrorReason
from clearing.model import MerchantId, WindowId
from clearing.signing.keys import PrivateKey
from clearing.v1.settlement_pb2 import GetProposalRequest, GetStatementRequest, StatementFormat
from clearing.whole_file import write_whole
from merchant_gateway.client.gateway_error import GatewayError
from merchant_gateway.client.proposal_receipt import ProposedSettlement, check_proposal

FORMATS = (
    StatementFormat.STATEMENT_FORMAT_JSON,
    StatementFormat.STATEMENT_FORMAT_CSV,
    StatementFormat.STATEMENT_FORMAT_XLSX,
)


def proposed_entry(connection: GatewayConnection, key: PrivateKey, window: str) -> ProposedSettlement | None:
    """What the log records of a window's settlement, proven; None before any is proposed.

    Raises ``GatewayError``, and ``ReceiptError`` if the proof does not hold.
    """
    request = GetProposalRequest(window=window)
    try:
        receipt = connection.call(connection.settlement.GetProposal, request, key).receipt
    except GatewayError as error:
        if error.reason is ErrorReason.NOT_FOUND:
            return None
        raise
    return check_proposal(WindowId(window), receipt_of(receipt), connection.alliance.verifier)


def owner_of(statement: bytes, asked: str | None = None) -> MerchantId | None:
    """Whose statement this is, in its JSON form; None for the alliance's.

    Raises ``BackOfficeError`` if it is no statement, or not that of the merchant who was asked for.
    """
    try:
        content = json.loads(statement)
        owner = None if content["kind"] == "alliance-statement" else MerchantId(content["merchant"]["id"])
    except (ValueError, KeyError, TypeError):
        raise BackOfficeError("the gateway's answer is no statement; is it of another version?") from None
    if asked is not None and owner != asked:
        raise BackOfficeError(f"the gateway's answer is the statement of {owner or 'the alliance'}, not of {asked}")
    return owner


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
    """Write the file, whole or not at all. Raises ``BackOfficeError``."""
    path = folder / Path(name).name  # whatever the gateway says, nothing is written beside the folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise BackOfficeError(f"cannot write {path}: {error.strerror}") from None
    return path
