"""A witness of the log: remembers what it was shown, and holds every later state of the log against that.

1. checkpoint    the gateway's newest is signed, and the stored entries hash to its root
2. entries       those seen before stand where they stood, byte for byte; no reference is in the log twice
3. receipts      each acknowledged one is its entry, and proven under the newest checkpoint
4. checkpoints   each ever handed out is a beginning of the newest, by the stored tiles and by proofs of the gateway
5. retries       the same envelopes hear the original receipts
6. books         balance
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence, Set

from clearing.contract.entry import decode_entry
from clearing.contract.presentment import PAYLOAD_TYPE
from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.merkle import leaf_hash, root, verify_consistency, verify_inclusion
from clearing.log.tile_reader import TileReader
from clearing.postgres.database import snapshot
from clearing.postgres.reading.books import check_books
from clearing.postgres.reading.log_reads import stream_entries
from clearing.postgres.reading.stored_log import tile_reader
from clearing.v1 import audit_pb2, entry_pb2, operations_pb2
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.presentment_pb2 import Presentment
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance

Answered = tuple[Envelope, entry_pb2.Receipt]
"""An envelope and the receipt that it was answered with."""

ENVELOPES_PER_CALL = 200
PROOFS_ASKED_FOR = 20
"""Each time, of the checkpoints that were not seen before; a call each."""


class Witness:
    """Remembers the entries and the checkpoints of one log."""

    def __init__(self, alliance: Alliance) -> None:
        self._alliance = alliance
        self._leaf_hashes: list[bytes] = []
        self._acknowledged: dict[int, bytes] = {}
        """The leaf hash of each acknowledged entry, by index."""
        self._notes: set[str] = set()
        """Of the checkpoints that were handed out."""
        self._roots: dict[int, bytes] = {}
        """By size, of every checkpoint ever handed out."""
        self.references: set[str] = set()
        """Of all transactions in the log; the tests' merchants share none."""

    @property
    def checkpoints(self) -> int:
        """How many different ones were handed out."""
        return len(self._roots)

    def check(self, answered: Sequence[Answered], ask_again: Sequence[Answered], notes: Collection[str] = ()) -> None:
        """Hold the log as it stands against what was answered so far; send these of it again.

        ``notes`` are checkpoints that were handed out otherwise than with an answer.
        """
        newest = self._newest()  # 1
        with snapshot(self._alliance.engine) as connection:
            leaves = [entry.entry for entry in stream_entries(connection, 0, newest.size)]
            leaf_hashes = [leaf_hash(leaf) for leaf in leaves]
            assert root(leaf_hashes) == newest.root
            self._see_entries(leaves, leaf_hashes)  # 2
            tree = tile_reader(connection)
            self._see_receipts(answered, newest, tree)  # 3
            self._see_checkpoints({*notes, *(receipt.checkpoint for _, receipt in answered)}, newest, tree)  # 4
            complaints = check_books(connection)
        self._ask_again(ask_again)  # 5
        assert complaints == []  # 6

    def _newest(self) -> Checkpoint:
        answer = self._alliance.audit.GetCheckpoint(
            audit_pb2.GetCheckpointRequest(), metadata=self._metadata(), timeout=CALL_TIMEOUT_SECONDS
        )
        return self._opened(answer.checkpoint)

    def _see_entries(self, leaves: Sequence[bytes], leaf_hashes: list[bytes]) -> None:
        known = len(self._leaf_hashes)
        assert leaf_hashes[:known] == self._leaf_hashes
        self._leaf_hashes = leaf_hashes
        for reference in itertools.chain.from_iterable(map(_references, leaves[known:])):
            assert reference not in self.references, f"{reference} is in the log twice"
            self.references.add(reference)

    def _see_receipts(self, answered: Sequence[Answered], newest: Checkpoint, tree: TileReader) -> None:
        for _, receipt in answered:
            if receipt.index not in self._acknowledged:
                acknowledged = self._acknowledged[receipt.index] = leaf_hash(receipt.entry)
                path = tree.inclusion_path(receipt.index, newest.size)
                verify_inclusion(acknowledged, receipt.index, newest.size, path, newest.root)
        for index, acknowledged in self._acknowledged.items():
            # The root above was made of these very leaves.
            assert self._leaf_hashes[index] == acknowledged, f"entry {index} is not the one that was acknowledged"

    def _see_checkpoints(self, notes: Set[str], newest: Checkpoint, tree: TileReader) -> None:
        new = notes - self._notes
        self._notes |= new
        handed_out = [self._opened(note) for note in new]
        for checkpoint in [*handed_out, newest]:
            known = self._roots.setdefault(checkpoint.size, checkpoint.root)
            assert known == checkpoint.root, f"two checkpoints of {checkpoint.size} entries differ"
        for size, root_then in self._roots.items():
            assert tree.root(size) == root_then, f"the checkpoint of {size} entries is not of this log"
        for checkpoint in handed_out[:PROOFS_ASKED_FOR]:
            request = audit_pb2.GetConsistencyProofRequest(old_size=checkpoint.size, new_size=newest.size)
            proof = self._alliance.audit.GetConsistencyProof(
                request, metadata=self._metadata(), timeout=CALL_TIMEOUT_SECONDS
            )
            path = list(proof.consistency_path)
            verify_consistency(checkpoint.size, newest.size, checkpoint.root, newest.root, path)

    def _ask_again(self, ask_again: Sequence[Answered]) -> None:
        presented = [each for each in ask_again if each[0].payload_type == PAYLOAD_TYPE]
        instructed = [each for each in ask_again if each[0].payload_type != PAYLOAD_TYPE]
        for start in range(0, len(presented), ENVELOPES_PER_CALL):
            asked = presented[start : start + ENVELOPES_PER_CALL]
            again = self._alliance.submit(*(envelope for envelope, _ in asked))
            for (_, original), receipt in zip(asked, again, strict=True):
                _require_same(receipt, original)
        for envelope, original in instructed:
            request = operations_pb2.InstructRequest(envelope=envelope)
            receipt = self._alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS).receipt
            self._alliance.verified(receipt)
            _require_same(receipt, original)

    def _opened(self, note: str) -> Checkpoint:
        return open_checkpoint(note, self._alliance.log_key.verifier)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return self._alliance.authorization(self._alliance.operator)


def _require_same(receipt: entry_pb2.Receipt, original: entry_pb2.Receipt) -> None:
    assert (receipt.index, receipt.entry, receipt.replayed) == (original.index, original.entry, True)


def _references(leaf: bytes) -> Iterator[str]:
    """Of the transactions that an entry presents."""
    entry = decode_entry(leaf)
    if entry.instruction_result is None:
        for transaction in Presentment.FromString(entry.envelope.payload).transactions:
            yield transaction.reference
