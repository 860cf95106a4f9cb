"""Fetching the log for an offline audit: entries over gRPC, checked against the checkpoint, written as tlog-tiles.

Beside the log stand the statements that were proposed for each window, so that the audit can tell whether what
merchants were sent is what the log settles to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from clearing.clock import system_time
from clearing.keys import PrivateKey
from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.folder import FolderError
from clearing.log.folder_writer import write_log_folder
from clearing.log.note import Verifier
from clearing.tokens import make_token
from clearing.v1 import audit_pb2, settlement_pb2
from clearing.v1.audit_pb2_grpc import AuditStub
from clearing.v1.settlement_pb2_grpc import SettlementStub
from merchant_gateway.gateway_error import gateway_error_of

STATEMENTS_FOLDER = "statements"
ENTRIES_PER_CALL = 10_000
"""So that no call outlives its token."""
CALL_SECONDS = 50

Progress = Callable[[int, int], None]
"""Told how many of how many entries are written."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written."""

    checkpoint: Checkpoint
    statement_files: int


class LogExporter:
    """Reads the log through a gateway with an auditor's, finance officer's or operator's key."""

    def __init__(self, channel: grpc.Channel, address: str, verifier: Verifier, key: PrivateKey) -> None:
        """``verifier`` is the alliance's log key, from the auditor's own records."""
        self._audit = AuditStub(channel)
        self._settlement = SettlementStub(channel)
        self._address = address
        self._verifier = verifier
        self._key = key

    def export(self, directory: Path, progress: Progress | None = None) -> Export:
        """Write the whole log, as of now, and the proposed statements to ``directory``.

        Raises ``GatewayError`` if a call fails, ``NoteError`` if the alliance's key did not sign the checkpoint, and
        ``FolderError`` if the entries are not those of the checkpoint or the folder cannot be written.
        """
        try:
            signed = self._audit.GetCheckpoint(
                audit_pb2.GetCheckpointRequest(), metadata=self._metadata(), timeout=CALL_SECONDS
            ).checkpoint
            checkpoint = open_checkpoint(signed, self._verifier)
            write_log_folder(
                directory,
                self._entries(checkpoint.size),
                signed,
                self._verifier,
                (lambda done: progress(done, checkpoint.size)) if progress is not None else None,
            )
            return Export(checkpoint, self._write_statements(directory / STATEMENTS_FOLDER))
        except grpc.RpcError as error:
            raise gateway_error_of(error, self._address) from None

    def _entries(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, ENTRIES_PER_CALL):
            end = min(start + ENTRIES_PER_CALL, size)
            request = audit_pb2.ListEntriesRequest(first_index=start, end_index=end)
            for chunk in self._audit.ListEntries(request, metadata=self._metadata(), timeout=CALL_SECONDS):
                yield from chunk.entries

    def _write_statements(self, folder: Path) -> int:
        windows = self._settlement.ListWindows(
            settlement_pb2.ListWindowsRequest(), metadata=self._metadata(), timeout=CALL_SECONDS
        ).windows
        written = 0
        for window in windows:
            if window.alliance_statement_digest:
                written += self._write_window(folder / window.window, window.window)
        return written

    def _write_window(self, folder: Path, window: str) -> int:
        proposal = self._settlement.GetSettlement(
            settlement_pb2.GetSettlementRequest(window=window), metadata=self._metadata(), timeout=CALL_SECONDS
        ).proposal
        merchants = ["", *(statement.merchant for statement in proposal.statement_digests)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for merchant in merchants:
                statement = self._settlement.GetStatement(
                    settlement_pb2.GetStatementRequest(
                        window=window, merchant=merchant, format=settlement_pb2.STATEMENT_FORMAT_JSON
                    ),
                    metadata=self._metadata(),
                    timeout=CALL_SECONDS,
                )
                unfinished = folder / f".{Path(statement.file_name).name}.part"
                unfinished.write_bytes(statement.content)
                unfinished.replace(folder / Path(statement.file_name).name)
        except OSError as error:
            raise FolderError(f"the statements cannot be written to {folder}: {error}", str(folder)) from None
        return len(merchants)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = make_token(self._key, self._verifier.name, system_time())
        return (("authorization", f"Bearer {token}"),)
