"""What an audit takes: ``python -m benchmarks.auditing`` writes a log of so many transactions, and verifies it.

The log is of a year, of the bench's merchants and cards, with a burn for every four earns and a refund of every
fiftieth of both. Writing and verifying are processes of their own, so that the memory of one is not in the other's
figure.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.signed_log import SignedLog
from benchmarks.workload import (
    BURN_POINTS_MAX,
    BURN_SHARE,
    CARDS,
    EARN_POINTS_MAX,
    FUNDED_AT,
    FUNDING_POINTS,
    MERCHANTS,
    Member,
)
from clearing.audit.refundable import RefundableTransactions
from clearing.calendar import moment_of
from clearing.card_token import token_of_bytes
from clearing.log.checkpoint import Checkpoint, sign_checkpoint
from clearing.log.folder_writer import write_log_folder
from clearing.log.merkle import leaf_hash
from clearing.log.note import parse_verifier
from clearing.log.tree import RightEdge, append
from clearing.model import MICROSECONDS_PER_DAY, CardToken, Instant
from clearing.rules.ledger import Ledger
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client import transactions
from settlement.auditing.audit import verify_export

SEED: Final = 20260101
DAYS: Final = 365
REFUND_SHARE: Final = 0.02
FUNDED_TOGETHER: Final = 100
LEAVES_TOGETHER: Final = 4_096
LENGTH_BYTES: Final = 2
KIB: Final = 1024


class LogMaker:
    """Makes a log's entries, one after the other."""

    def __init__(self, transactions_wanted: int, per_envelope: int, cards: int) -> None:
        self._random = random.Random(SEED)  # noqa: S311 - the log is the same each time, and no secret
        self._wanted = transactions_wanted
        self._per_envelope = per_envelope
        self._cards = [token_of_bytes(self._random.randbytes(16)) for _ in range(cards)]
        self.log = SignedLog(
            [f"merchant-{number:02d}" for number in range(1, MERCHANTS + 1)],
            Ledger(transactions=RefundableTransactions()),
        )
        self._number = 0
        self._refundable: dict[str, tuple[str, CardToken]] = {}
        """By merchant: the reference and card of one that may be taken back."""

    def leaves(self) -> Iterator[bytes]:
        """All of them."""
        for start in range(0, len(self._cards), FUNDED_TOGETHER):
            self._fund(self._cards[start : start + FUNDED_TOGETHER])
            yield from self._taken()
        while self._number < self._wanted:
            presented_at = Instant(FUNDED_AT + DAYS * MICROSECONDS_PER_DAY * self._number // self._wanted)
            member = self._random.choice(self.log.members)
            presented = [self._transaction(member, presented_at) for _ in range(self._per_envelope)]
            self.log.present(member, presented, presented_at)
            yield from self._taken()

    def _taken(self) -> list[bytes]:
        taken, self.log.leaves = self.log.leaves, []
        return taken

    def _fund(self, cards: list[CardToken]) -> None:
        member, at = self._random.choice(self.log.members), moment_of(FUNDED_AT)
        for made in (
            [transactions.open_card(self._reference(), card, member.store, at) for card in cards],
            [transactions.earn(self._reference(), card, member.store, FUNDING_POINTS, at) for card in cards],
        ):
            self.log.present(member, made, FUNDED_AT)

    def _transaction(self, member: Member, presented_at: Instant) -> Transaction:
        at, reference = moment_of(presented_at), self._reference()
        if self._random.random() < REFUND_SHARE and member.merchant in self._refundable:
            original, card = self._refundable.pop(member.merchant)
            return transactions.refund(reference, card, member.store, original, at)
        card = self._random.choice(self._cards)
        self._refundable[member.merchant] = reference, card
        if self._random.random() < BURN_SHARE:
            return transactions.burn(reference, card, member.store, self._random.randint(1, BURN_POINTS_MAX), at)
        return transactions.earn(reference, card, member.store, self._random.randint(1, EARN_POINTS_MAX), at)

    def _reference(self) -> str:
        self._number += 1
        return f"till-{self._number:012d}"


def write_log(directory: str, transactions_wanted: int, per_envelope: int, cards: int) -> str:
    """Write the folder of such a log; the verifier's text of its key."""
    maker = LogMaker(transactions_wanted, per_envelope, cards)
    edge = RightEdge.empty()
    with tempfile.TemporaryFile() as entries:
        hashes: list[bytes] = []
        for leaf in maker.leaves():
            entries.write(len(leaf).to_bytes(LENGTH_BYTES) + leaf)
            hashes.append(leaf_hash(leaf))
            if len(hashes) == LEAVES_TOGETHER:
                edge, hashes = append(edge, hashes).edge, []
        edge = append(edge, hashes).edge
        entries.seek(0)
        signer = maker.log.signer
        checkpoint = sign_checkpoint(Checkpoint(signer.name, edge.size, edge.root()), signer)
        again = (entries.read(int.from_bytes(entries.read(LENGTH_BYTES))) for _ in range(edge.size))
        write_log_folder(Path(directory), again, checkpoint, signer.verifier)
    return signer.vkey


def verify(directory: str, vkey: str) -> dict[str, Any]:
    """Verify the log, and say what that took of this process."""
    started = time.perf_counter()
    report = verify_export(Path(directory), parse_verifier(vkey))
    seconds = time.perf_counter() - started
    decided = sum(
        count for (kind, _), count in report.outcomes.items() if kind in ("OpenCard", "Earn", "Burn", "Refund")
    )
    return {
        "transactions": decided,
        "entries": report.entries,
        "cards": report.cards,
        "seconds": round(seconds, 1),
        "us_per_transaction": round(seconds / decided * 1_000_000, 1),
        "peak_mib": _peak_mib(),
    }


def _peak_mib() -> int:
    """The most memory that this process has had at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // KIB if sys.platform == "linux" else peak // (KIB * KIB)


def main(
    transactions_wanted: Annotated[int, typer.Option("--transactions", min=1, metavar="N")] = 1_000_000,
    per_envelope: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Transactions of a presentment.")] = 10,
    cards: Annotated[int, typer.Option(min=100, metavar="N")] = CARDS,
    directory: Annotated[
        Path | None, typer.Option(help="Folder that takes the log; a temporary one without it.")
    ] = None,
) -> None:
    """Write a log and verify it; the figures are JSON."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="clearing-auditing-", dir=directory) as folder:
        with context.Pool(1) as writing:
            vkey = writing.apply(write_log, (folder, transactions_wanted, per_envelope, cards))
        with context.Pool(1) as verifying:
            typer.echo(json.dumps(verifying.apply(verify, (folder, vkey))))


if __name__ == "__main__":
    typer.run(main)
