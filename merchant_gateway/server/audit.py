"""The service that auditors call: the log and proofs about it."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import sqlalchemy

from clearing.deciding.batch_record import Head
from clearing.deciding.caller import STAFF
from clearing.errors import ErrorReason, Rejection
from clearing.model import EntryIndex
from clearing.postgres.database import snapshot
from clearing.postgres.database_errors import translated_errors
from clearing.postgres.reading.log_reads import stream_entries
from clearing.postgres.reading.stored_log import stored_leaf, tile_reader
from clearing.v1 import audit_pb2 as contract
from clearing.v1.audit_pb2_grpc import AuditServicer
from clearing.writer.writer import Writer
from merchant_gateway.server.authentication import Authenticator
from merchant_gateway.server.calls import caller_of

CHUNK_ENTRIES = 256
CHUNK_BYTES = 1024 * 1024
"""A chunk of entries is at most this, and one entry: below gRPC's usual limit of 4 MiB a message."""


class Audit(AuditServicer):
    """Hands out what is needed to check the log without trusting whoever hands it out."""

    def __init__(self, writer: Writer, engine: sqlalchemy.Engine, authenticator: Authenticator) -> None:
        self._writer = writer
        self._engine = engine
        self._authenticator = authenticator

    def GetCheckpoint(
        self, request: contract.GetCheckpointRequest, context: grpc.ServicerContext
    ) -> contract.GetCheckpointResponse:
        """The newest checkpoint; any registered key may ask, so that merchants can compare notes."""
        caller_of(context, self._authenticator)
        return contract.GetCheckpointResponse(checkpoint=self._head().checkpoint)

    def ListEntries(
        self, request: contract.ListEntriesRequest, context: grpc.ServicerContext
    ) -> Iterator[contract.ListEntriesResponse]:
        """Entries in order, in chunks."""
        self._require_reader(context)
        size = self._head().size
        if not request.first_index <= request.end_index <= size:
            raise Rejection(
                ErrorReason.INVALID_FIELD, f"end_index: must be first_index to the log's {size:,}", field="end_index"
            )
        index = request.first_index
        while index < request.end_index:
            end = min(index + CHUNK_ENTRIES, request.end_index)
            with translated_errors(), self._engine.connect() as connection:
                entries = [entry.entry for entry in stream_entries(connection, index, end)]
            for chunk in _chunks(entries):
                yield contract.ListEntriesResponse(first_index=index, entries=chunk)
                index += len(chunk)

    def GetInclusionProof(
        self, request: contract.GetInclusionProofRequest, context: grpc.ServicerContext
    ) -> contract.GetInclusionProofResponse:
        """The path of one entry in the tree of any size that holds it."""
        self._require_reader(context)
        head = self._head()
        size = self._size_asked(request.tree_size, head, "tree_size")
        if request.index >= size:
            raise Rejection(
                ErrorReason.NOT_FOUND, f"a tree of {size:,} entries has no entry {request.index:,}", field="index"
            )
        with snapshot(self._engine) as connection:
            path = tile_reader(connection).inclusion_path(request.index, size)
            entry = stored_leaf(connection, EntryIndex(request.index))
        return contract.GetInclusionProofResponse(
            entry=entry, inclusion_path=path, tree_size=size, checkpoint=head.checkpoint
        )

    def GetConsistencyProof(
        self, request: contract.GetConsistencyProofRequest, context: grpc.ServicerContext
    ) -> contract.GetConsistencyProofResponse:
        """The path that shows the older tree to be the beginning of the newer; any registered key may ask."""
        caller_of(context, self._authenticator)
        head = self._head()
        size = self._size_asked(request.new_size, head, "new_size")
        if not 1 <= request.old_size <= size:
            raise Rejection(ErrorReason.INVALID_FIELD, f"old_size: must be 1 to {size:,}", field="old_size")
        with snapshot(self._engine) as connection:
            path = tile_reader(connection).consistency_path(request.old_size, size)
        return contract.GetConsistencyProofResponse(consistency_path=path, new_size=size, checkpoint=head.checkpoint)

    def _require_reader(self, context: grpc.ServicerContext) -> None:
        """The log holds every merchant's transactions, so merchants do not read it; receipts prove them their own."""
        caller_of(context, self._authenticator).require_role(*STAFF)

    def _head(self) -> Head:
        self._authenticator.directory()
        head = self._writer.head
        assert head is not None, "an alliance has a log"
        return head

    @staticmethod
    def _size_asked(asked: int, head: Head, field: str) -> int:
        if asked > head.size:
            raise Rejection(ErrorReason.INVALID_FIELD, f"{field}: the log has {head.size:,} entries", field=field)
        return asked or head.size


def _chunks(entries: list[bytes]) -> Iterator[list[bytes]]:
    """The entries in runs of at most a chunk's bytes."""
    chunk: list[bytes] = []
    chunk_bytes = 0
    for entry in entries:
        if chunk and chunk_bytes + len(entry) > CHUNK_BYTES:
            yield chunk
            chunk, chunk_bytes = [], 0
        chunk.append(entry)
        chunk_bytes += len(entry)
    if chunk:
        yield chunk
