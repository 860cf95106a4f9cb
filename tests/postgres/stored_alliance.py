"""A small alliance whose batches are decided by the real rules and recorded in a real database.

Beside the database it keeps the whole ledger in memory, so that what is loaded can be compared with what was decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from sqlalchemy import Connection, Engine

from clearing.card_token import token_of_bytes
from clearing.deciding.batch_record import BatchRecord, EntryPosting, Head, LogEntry
from clearing.log.merkle import leaf_hash
from clearing.log.tree import RightEdge, append
from clearing.model import (
    MICROSECONDS_PER_DAY,
    CardToken,
    Channel,
    ClockKind,
    CreateAlliance,
    Earn,
    EntryIndex,
    ExpireLots,
    Instant,
    Instruction,
    InstructionKey,
    MerchantId,
    Outcome,
    Points,
    Presentment,
    Reference,
    SettlementMethod,
    StoreId,
    Transaction,
    TransactionDetails,
    WindowId,
)
from clearing.postgres.bulk import driver_cursor
from clearing.postgres.database import snapshot
from clearing.postgres.reading.load import load_ledger
from clearing.postgres.sql import execute
from clearing.postgres.writing.record import statements_of
from clearing.rules.case import InstructionDecision
from clearing.rules.directory import Directory
from clearing.rules.instruction import decide_instruction
from clearing.rules.ledger import Ledger, LedgerChanges, RecordedInstruction
from clearing.rules.presentment import decide_presentment, entry_that_decided_all
from tests.zones import calendar_of, offsets_of

BAKERY, CINEMA, GARAGE = MerchantId("bakery"), MerchantId("cinema"), MerchantId("garage")
MERCHANTS = (BAKERY, CINEMA, GARAGE)
CARDS = tuple(token_of_bytes(bytes([number] * 16)) for number in range(4))
START = Instant(1_767_700_000_000_000)
"""In January 2026."""

CONSTITUTION = CreateAlliance(
    unit="PTS",
    currency="EUR",
    currency_decimals=2,
    time_zone="Europe/Berlin",
    settlement_method=SettlementMethod.ISSUER_PAYS,
    clock=ClockKind.SYSTEM,
    log_verifier="alliance.example/log+00000000+AAAA",
    operator_keys=(),
    four_eyes=False,
    lot_lifetime_months=1,
    late_presentment_days=7,
    issuance_price=Decimal("0.01"),
    redemption_price=Decimal("0.01"),
    rules_version=1,
    notice_days=0,
    settlement_version=1,
    zone_offsets=offsets_of("Europe/Berlin"),
)
DIRECTORY = Directory(
    origin="alliance.example/log",
    constitution=CONSTITUTION,
    founded_in=WindowId("2026-01"),
    calendar=calendar_of("Europe/Berlin"),
    founded_at=Instant(0),
    stores={StoreId(f"{merchant}-1"): merchant for merchant in MERCHANTS},
)

Message = Presentment | Instruction


def digest(content: object) -> bytes:
    """Tells contents apart, as the digest of the protobuf form does."""
    return hashlib.sha256(repr(content).encode()).digest()[:16]


def transaction(
    merchant: MerchantId, reference: str, card: CardToken, kind: TransactionDetails, occurred_at: Instant
) -> Transaction:
    """A transaction at the merchant's only store."""
    return Transaction(
        Reference(reference),
        card,
        StoreId(f"{merchant}-1"),
        occurred_at,
        Channel.TILL,
        "",
        kind,
        digest((reference, card, kind)),
    )


def record_batch(connection: Connection, record: BatchRecord) -> None:
    """Write the batch in the connection's transaction."""
    with driver_cursor(connection) as cursor:
        execute(cursor, statements_of(record))


@dataclass(slots=True)
class StoredAlliance:
    """Its database, and what has been decided so far."""

    engine: Engine
    now: Instant = START
    head: Head | None = None
    edge: RightEdge = field(default_factory=RightEdge.empty)
    directory: Directory = DIRECTORY
    ledger: Ledger = field(default_factory=Ledger)
    """All of it, in memory."""
    times: list[Instant] = field(default_factory=list)

    def accepted_at(self, index: int) -> Instant:
        """When an entry was accepted."""
        return self.times[index]

    def one(self, merchant: MerchantId, reference: str, card: CardToken, kind: TransactionDetails) -> Presentment:
        """A presentment of one transaction, now."""
        return self.presentment(merchant, [transaction(merchant, reference, card, kind, self.now)])

    def presentment(
        self, merchant: MerchantId, transactions: Sequence[Transaction], *, atomic: bool = False
    ) -> Presentment:
        """A presentment of these transactions, now."""
        return Presentment(self.directory.origin, merchant, self.now, atomic, tuple(transactions))

    def expire(self, reference: str, *cards: CardToken, merchant: MerchantId | None = None) -> Instruction:
        """An instruction that books the expiry of the cards' lots, of this party's."""
        action = ExpireLots(cards)
        content = digest((action, merchant))
        return Instruction(self.directory.origin, self.now, Reference(reference), action, content, merchant)

    def days_pass(self, days: int) -> None:
        """Let the next batch be accepted so much later."""
        self.now = Instant(self.now + days * MICROSECONDS_PER_DAY)

    def load(self, connection: Connection, messages: Sequence[Message]) -> Ledger:
        """What the database knows about these messages."""
        return load_ledger(
            connection,
            presentments=[message for message in messages if isinstance(message, Presentment)],
            instructions=[message for message in messages if isinstance(message, Instruction)],
        )

    def batch(self, *messages: Message) -> list[Outcome]:
        """Load, decide, record and commit; the outcomes of what was not decided before, in order."""
        with self.engine.begin() as connection:
            record, outcomes = self.decide(self.load(connection, messages), messages)
            record_batch(connection, record)
        self.committed(record)
        return outcomes

    def decide(self, ledger: Ledger, messages: Sequence[Message]) -> tuple[BatchRecord, list[Outcome]]:
        """The batch that the messages come to over ``ledger``, which is changed; at least one must be new."""
        directory, size = self.directory, self.edge.size
        entries: list[LogEntry] = []
        outcomes: list[Outcome] = []
        postings: list[EntryPosting] = []
        gathered = LedgerChanges({}, {}, ())
        instruction_indexes: list[EntryIndex] = []
        instructions: dict[InstructionKey, RecordedInstruction] = {}
        for message in messages:
            index = EntryIndex(size + len(entries))
            if isinstance(message, Presentment):
                if entry_that_decided_all(ledger, message) is not None:
                    continue
                presented = decide_presentment(directory, ledger, message, self.now, index)
                changes = presented.changes
                outcomes.extend(result.outcome for result in presented.results)
            else:
                instructed = decide_instruction(directory, ledger, message, self.now, index, ())
                if not isinstance(instructed, InstructionDecision):
                    continue
                changes = instructed.changes
                outcomes.append(instructed.result.outcome)
                instruction_indexes.append(index)
                if message.key not in ledger.instructions:
                    recorded = RecordedInstruction(index, message.content_digest)
                    ledger.instructions[message.key] = instructions[message.key] = recorded
            ledger.apply(changes)
            gathered.cards.update(changes.cards)
            gathered.transactions.update(changes.transactions)
            postings.extend(EntryPosting(index, position, posting) for position, posting in changes.postings)
            entries.append(LogEntry(index, self.now, b"entry %d\x00\xff" % index))
            directory = directory.with_entry(index, self.now)
        appended = append(self.edge, [leaf_hash(entry.entry) for entry in entries])
        new_windows = directory.window_starts.keys() - self.directory.window_starts.keys()
        record = BatchRecord(
            old_head=self.head,
            new_head=Head(appended.edge.size, appended.root, self.now, f"checkpoint of {appended.edge.size}"),
            entries=entries,
            tiles=appended.tiles,
            unit=CONSTITUTION.unit,
            transactions=gathered.transactions,
            postings=postings,
            cards_after=gathered.cards,
            instruction_indexes=instruction_indexes,
            instructions=instructions,
            window_starts={window: directory.window_starts[window] for window in new_windows},
        )
        return record, outcomes

    def committed(self, record: BatchRecord) -> None:
        """Take up what a committed batch made of the alliance."""
        self.head = record.new_head
        self.times.extend(entry.accepted_at for entry in record.entries)
        self.edge = append(self.edge, [leaf_hash(entry.entry) for entry in record.entries]).edge
        self.directory = replace(self.directory, window_starts={**self.directory.window_starts, **record.window_starts})
        self.ledger.cards.update(record.cards_after)
        self.ledger.transactions.update(record.transactions)
        self.ledger.instructions.update(record.instructions)


def decided(alliance: StoredAlliance, reference: str) -> BatchRecord:
    """A batch, not recorded yet, in which the first card earns seven points."""
    message = alliance.one(BAKERY, reference, CARDS[0], Earn(Points(7), None))
    with snapshot(alliance.engine) as connection:
        return alliance.decide(alliance.load(connection, [message]), [message])[0]
