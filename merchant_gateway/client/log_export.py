"""Fetching the log for an offline audit: entries over gRPC, checked against the checkpoint, written as tlog-tiles.

Beside the log stand the statements that were proposed for each window, so that the audit can tell whether what
merchants were sent is what the log settles to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clearing.contract.entry import Entry, EntryError, decode_entry
from clearing.contract.instruction import PAYLOAD_TYPE as INSTRUCTION_TYPE
from clearing.contract.instruction import decode_instruction
from clearing.errors import Rejection
from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.folder import FolderError
from clearing.log.folder_writer import write_log_folder
from clearing.log.note import Verifier
from clearing.model import Outcome, ProposeSettlement, WindowId
from clearing.signing.keys import PrivateKey
from clearing.v1 import audit_pb2, settlement_pb2
from clearing.whole_file import write_whole
from merchant_gateway.client.gateway_channel import GatewayChannel

_INSTRUCTION = INSTRUCTION_TYPE.encode()

STATEMENTS_FOLDER = "statements"
ENTRIES_PER_CALL = 10_000
"""So that no call outlives its token."""

Progress = Callable[[int, int], None]
"""Told how many of how many entries are written."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written."""

    checkpoint: Checkpoint
    statement_files: int


class LogExporter:
    """Reads the log through a gateway with an auditor's, finance officer's or operator's key."""

    def __init__(self, channel: GatewayChannel, verifier: Verifier, key: PrivateKey) -> None:
        """``verifier`` is the alliance's log key, from the auditor's own records."""
        self._channel = channel
        self._verifier = verifier
        self._key = key

    def export(self, directory: Path, progress: Progress | None = None) -> Export:
        """Write the whole log, as of now, and the proposed statements to ``directory``.

        Raises ``GatewayError`` if a call fails, ``NoteError`` if the alliance's key did not sign the checkpoint, and
        ``FolderError`` if the entries are not those of the checkpoint or the folder cannot be written.
        """
        request = audit_pb2.GetCheckpointRequest()
        signed = self._channel.call(self._channel.audit.GetCheckpoint, request, self._key).checkpoint
        checkpoint = open_checkpoint(signed, self._verifier)
        proposed = _Proposals()
        write_log_folder(
            directory,
            proposed.noted(self._entries(checkpoint.size)),
            signed,
            self._verifier,
            (lambda done: progress(done, checkpoint.size)) if progress is not None else None,
        )
        statements = directory / STATEMENTS_FOLDER
        written = sum(self._write_window(statements / window, window) for window in proposed.windows)
        return Export(checkpoint, written)

    def _entries(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, ENTRIES_PER_CALL):
            end = min(start + ENTRIES_PER_CALL, size)
            request = audit_pb2.ListEntriesRequest(first_index=start, end_index=end)
            for chunk in self._channel.stream(self._channel.audit.ListEntries, request, self._key):
                yield from chunk.entries

    def _write_window(self, folder: Path, window: WindowId) -> int:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            merchants = _members_in(self._write_statement(folder, window, ""))
            for merchant in merchants:
                self._write_statement(folder, window, merchant)
        except OSError as error:
            raise FolderError(f"the statements cannot be written to {folder}: {error.strerror}", str(folder)) from None
        return 1 + len(merchants)

    def _write_statement(self, folder: Path, window: WindowId, merchant: str) -> bytes:
        """Write one statement, and return what was written."""
        request = settlement_pb2.GetStatementRequest(window=window, merchant=merchant)
        statement = self._channel.call(self._channel.settlement.GetStatement, request, self._key)
        name = Path(statement.file_name).name  # whatever the gateway says, nothing is written beside the folder
        write_whole(folder / name, statement.content)
        return statement.content


def _members_in(alliance_statement: bytes) -> list[str]:
    """The members whose statements it names. What is no statement names nobody: the audit says what is wrong."""
    with suppress(ValueError, KeyError, TypeError):
        return [str(merchant) for merchant in json.loads(alliance_statement)["merchant_statement_sha256"]]
    return []


class _Proposals:
    """The settlements that a log's own entries propose: what the gateway lists may have grown since the checkpoint."""

    def __init__(self) -> None:
        self.windows: dict[WindowId, None] = {}
        """Each once, in order."""

    def noted(self, entries: Iterable[bytes]) -> Iterator[bytes]:
        """The entries, while their proposals are noted. Malformed ones are left to the audit, which names them."""
        for leaf in entries:
            if _INSTRUCTION in leaf:
                with suppress(EntryError, Rejection):
                    self._note(decode_entry(leaf))
            yield leaf

    def _note(self, entry: Entry) -> None:
        if entry.instruction_result is None or entry.instruction_result.outcome is not Outcome.ACCEPTED:
            return
        action = decode_instruction(entry.envelope.payload).action
        if isinstance(action, ProposeSettlement):
            self.windows[action.window] = None
