"""Each reference is decided once: how the replay knows without remembering every reference.

An entry says of each of its transactions whether the reference is new, was decided in an earlier entry that it names,
or was used before for something else; and of a refund that came to nothing, what its original was. What a replay does
not remember it takes from there for the moment: none of it moves points. And it keeps what was said, sixteen bytes
each, and when the log has ended puts it in order by reference: then whatever was said of one reference stands side by
side, and is compared with the entries themselves.

Sixteen bytes are ten of the reference's digest and six for the entry and for what it says. Digests that agree are only
a reason to read the entries, in which the references are written out, so a collision costs time and hides nothing.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from clearing.audit.refundable import Key, RefundableTransactions
from clearing.audit.replay_difference import ReplayDifference
from clearing.audit.sorted_records import SortedRecords
from clearing.contract.entry import Entry, EntryError, decode_entry
from clearing.contract.presentment import PAYLOAD_TYPE, decode_presentment
from clearing.model import (
    KIND_OF,
    CardToken,
    EntryIndex,
    Instant,
    Outcome,
    Presentment,
    Refund,
    StoreId,
    TransactionKind,
    TransactionResult,
    refused,
)
from clearing.rules.card import Card
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger, RecordedTransaction
from clearing.rules.presentment import entry_that_decided_all
from clearing.rules.versions import rules_at

DIGEST_BYTES: Final = 10
PLACE_BYTES: Final = 6
SAYS_BITS: Final = 2
SAYS_MASK: Final = (1 << SAYS_BITS) - 1
ENTRIES_READ_AGAIN: Final = 64
"""Entries kept in memory that are looked up more than once, such as those that many others refer to."""

ReadEntry = Callable[[EntryIndex], bytes]
"""The leaf of an entry that the replay has passed."""

REFUSALS_BY_ORIGINAL: Final = (
    Outcome.UNKNOWN_ORIGINAL,
    Outcome.ORIGINAL_OF_ANOTHER_CARD,
    Outcome.ORIGINAL_NOT_ACCEPTED,
    Outcome.ORIGINAL_NOT_REFUNDABLE,
    Outcome.ALREADY_REFUNDED,
)
"""What a refund comes to where its original is not one that can be taken back, in the order of the rule's guards: each
says of the original what those before it say, and more."""


class Says(IntEnum):
    """What an entry says of a reference."""

    NEW = 0
    """It was not decided before."""
    USED = 1
    """It was decided before, with other content."""
    REPEATED = 2
    """It was decided before, with the same content, in an entry that is named."""
    NOT_REFUNDABLE = 3
    """As the original of a refund it cannot be taken back, for the reason that the outcome gives."""


class Statement(NamedTuple):
    """What an entry says of one reference; a transaction says it of its own or of its original's."""

    says: Says
    key: Key
    position: int
    """Of the transaction in its presentment, from 0."""


class DecidedPresentment(NamedTuple):
    """An entry, as far as references are concerned."""

    entry_index: EntryIndex
    accepted_at: Instant
    presentment: Presentment
    results: Sequence[TransactionResult]

    def statements(self) -> Iterator[Statement]:
        """What it says of references, in order. What follows from the entry's own decisions is left to the rules."""
        merchant = self.presentment.merchant
        decided_here: set[Key] = set()
        for position, (transaction, result) in enumerate(zip(self.presentment.transactions, self.results, strict=True)):
            key = merchant, transaction.reference
            if (
                result.original_index is None
                and result.outcome in REFUSALS_BY_ORIGINAL
                and isinstance(transaction.kind, Refund)
            ):
                original = merchant, transaction.kind.original_reference
                if original not in decided_here:
                    yield Statement(Says.NOT_REFUNDABLE, original, position)
            if key in decided_here:
                continue
            if result.original_index is not None:
                yield Statement(Says.REPEATED, key, position)
            elif result.outcome is Outcome.REFERENCE_REUSED:
                yield Statement(Says.USED, key, position)
            else:
                decided_here.add(key)
                yield Statement(Says.NEW, key, position)


class References:
    """What the log says of references, checked when it has ended."""

    def __init__(self, read_entry: ReadEntry, folder: Path, transactions: RefundableTransactions) -> None:
        """``folder`` takes the files, and is the caller's to remove; ``transactions`` are those that are remembered."""
        self._read = lru_cache(ENTRIES_READ_AGAIN)(lambda index: _decided(index, read_entry(index)))
        self._records = SortedRecords(folder)
        self._transactions = transactions

    def assume(self, entry: DecidedPresentment, directory: Directory) -> list[Statement]:
        """Have the ledger hold what the entry says and is not remembered; these statements are to be kept.

        Raises ``ReplayDifference`` where an entry that it names did not decide the reference.
        """
        assumed: dict[Key, RecordedTransaction] = {}
        refusals: dict[Key, tuple[int, CardToken]] = {}
        kept: list[Statement] = []
        for statement in entry.statements():
            says, key, position = statement
            if self._transactions.remembers(key):
                continue  # the rules see for themselves
            transaction, result = entry.presentment.transactions[position], entry.results[position]
            match says:
                case Says.REPEATED:
                    assumed[key] = self._repeated(entry, key, position, directory)
                    continue
                case Says.USED:
                    refusals.setdefault(key, (0, transaction.card))
                case Says.NOT_REFUNDABLE:
                    depth = REFUSALS_BY_ORIGINAL.index(result.outcome)
                    refusals[key] = max(refusals.get(key, (0, transaction.card)), (depth, transaction.card))
            kept.append(statement)
        used = {key for says, key, _ in kept if says is Says.USED}
        for key, (depth, card) in refusals.items():
            if key not in assumed and (depth or key in used):
                assumed[key] = _as_said(key, REFUSALS_BY_ORIGINAL[depth], card)
        self._transactions.assumed = assumed
        return kept

    def keep(self, index: EntryIndex, statements: Sequence[Statement]) -> None:
        """Keep what the entry said, now that the rules have come to the same."""
        for says, key, _ in statements:
            self._records.add(_digest(key) + (index << SAYS_BITS | says).to_bytes(PLACE_BYTES))

    def check(self, directory: Directory) -> None:
        """Compare all that was said. Raises ``ReplayDifference`` at the first thing that is not so."""
        for digest, records in itertools.groupby(self._records.in_order(), lambda record: record[:DIGEST_BYTES]):
            places = [int.from_bytes(record[DIGEST_BYTES:]) for record in records]
            if len(places) > 1 or places[0] & SAYS_MASK != Says.NEW:  # hardly any
                self._check_of(digest, places, directory)

    def _check_of(self, digest: bytes, places: Sequence[int], directory: Directory) -> None:
        """Compare what was said of references of one digest, in the order of the log."""
        decided: dict[Key, RecordedTransaction] = {}
        for index, _ in itertools.groupby(place >> SAYS_BITS for place in places):
            entry = self._read(EntryIndex(index))
            for says, key, position in entry.statements():
                if _digest(key) != digest or says is Says.REPEATED:
                    continue
                transaction, result = entry.presentment.transactions[position], entry.results[position]
                original = decided.get(key)
                where = f"transaction {position}: its reference {key[1]!r}"
                if says is Says.NEW:
                    if original is not None:
                        raise ReplayDifference(
                            entry.entry_index, f"{where} was decided in entry {original.entry_index} already"
                        )
                    decided[key] = _recorded(entry, position, directory)
                elif says is Says.USED:
                    if original is None:
                        raise ReplayDifference(entry.entry_index, f"{where} was not used before, and the log says so")
                    if original.content_digest == transaction.content_digest:
                        raise ReplayDifference(
                            entry.entry_index,
                            f"{where} was decided in entry {original.entry_index}, and with this content",
                        )
                else:
                    expected = _outcome_of_refund(original, entry, position, directory)
                    if result.outcome is not expected:
                        raise ReplayDifference(
                            entry.entry_index,
                            f"transaction {position}: the log says {result.outcome.name}, and by its original "
                            f"{key[1]!r} it is {expected.name}",
                        )

    def _repeated(
        self, entry: DecidedPresentment, key: Key, position: int, directory: Directory
    ) -> RecordedTransaction:
        """The original that the entry names, from the entry in which it was decided."""
        index = entry.results[position].original_index
        assert index is not None
        if index < entry.entry_index:
            try:
                original = self._read(index)
                for says, other, place in original.statements():
                    if other == key and says is Says.NEW:
                        return _recorded(original, place, directory)
            except EntryError:
                pass  # an instruction, which has no transactions
        raise ReplayDifference(
            entry.entry_index, f"transaction {position}: its reference {key[1]!r} was not decided in entry {index}"
        )


def decided_presentment(index: EntryIndex, entry: Entry, presentment: Presentment) -> DecidedPresentment | None:
    """The entry; None if it has not a result for each transaction."""
    if len(entry.transaction_results) != len(presentment.transactions):
        return None
    return DecidedPresentment(index, entry.accepted_at, presentment, entry.transaction_results)


def _decided(index: EntryIndex, leaf: bytes) -> DecidedPresentment:
    """An entry that the replay has passed. Raises ``EntryError`` if it is no presentment's."""
    entry = decode_entry(leaf)
    if entry.envelope.payload_type != PAYLOAD_TYPE:
        raise EntryError(f"entry {index} is no presentment's")
    presentment = decode_presentment(entry.envelope.payload)
    return DecidedPresentment(index, entry.accepted_at, presentment, entry.transaction_results)


def _recorded(entry: DecidedPresentment, position: int, directory: Directory) -> RecordedTransaction:
    """A transaction as it was decided in the entry. Whatever of it was taken back is not to be taken back again."""
    transaction, result = entry.presentment.transactions[position], entry.results[position]
    return RecordedTransaction(
        entry_index=entry.entry_index,
        position=position,
        merchant=entry.presentment.merchant,
        reference=transaction.reference,
        content_digest=transaction.content_digest,
        kind=KIND_OF[type(transaction.kind)],
        card=transaction.card,
        store=transaction.store,
        result=result,
        decided_on=directory.local_date(entry.accepted_at),
        points_refunded=result.points,
    )


def _as_said(key: Key, outcome: Outcome, card: CardToken) -> RecordedTransaction:
    """A transaction of which a refund to the card comes to this outcome, and whose content is no other's."""
    merchant, reference = key
    accepted = outcome is not Outcome.ORIGINAL_NOT_ACCEPTED
    return RecordedTransaction(
        entry_index=EntryIndex(0),
        position=0,
        merchant=merchant,
        reference=reference,
        content_digest=b"",
        kind=TransactionKind.OPEN_CARD if outcome is Outcome.ORIGINAL_NOT_REFUNDABLE else TransactionKind.EARN,
        card=CardToken("") if outcome in REFUSALS_BY_ORIGINAL[:2] else card,
        store=StoreId(""),
        result=refused(Outcome.ACCEPTED if accepted else Outcome.UNKNOWN_CARD),
        decided_on=datetime.date.max,
    )


def _outcome_of_refund(
    original: RecordedTransaction | None, entry: DecidedPresentment, position: int, directory: Directory
) -> Outcome:
    """What the rules of its time make of a refund whose original is not one that can be taken back."""
    transaction = entry.presentment.transactions[position]
    alone = entry.presentment._replace(atomic=False, transactions=(transaction,))
    ledger = Ledger({transaction.card: Card(transaction.card)})
    if original is not None:
        ledger.transactions[original.merchant, original.reference] = original
    if entry_that_decided_all(ledger, alone) is not None:
        # A refund that names itself, and was decided before, is no refusal for its original at all.
        return Outcome.REFERENCE_REUSED
    rules = rules_at(directory, entry.accepted_at)
    return rules.decide_presentment(directory, ledger, alone, entry.accepted_at, entry.entry_index).results[0].outcome


def _digest(key: Key) -> bytes:
    return sha256("\0".join(key).encode()).digest()[:DIGEST_BYTES]
