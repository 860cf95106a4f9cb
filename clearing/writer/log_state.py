"""What the writer takes up when it starts: the log's head and right edge, and the directory its instructions made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import sqlalchemy

from clearing.contract.entry import Entry, decode_entry
from clearing.contract.instruction import decode_instruction
from clearing.contract.log_identity import log_id_of
from clearing.deciding.batch_record import Head, LogEntry
from clearing.log.merkle import HASH_SIZE, leaf_hash
from clearing.log.tiles import TILE_WIDTH
from clearing.log.tree import RightEdge
from clearing.model import (
    Action,
    ApproveSettlement,
    CreateAlliance,
    EntryIndex,
    KeyId,
    Outcome,
    ProposeSettlement,
    WindowId,
)
from clearing.postgres.database_errors import LogDamagedError
from clearing.postgres.head import read_head
from clearing.postgres.reading.log_reads import read_window_starts, stream_instructions
from clearing.postgres.reading.stored_log import stored_leaf, stored_tiles
from clearing.rules.actions import rule_of
from clearing.rules.case import InstructionDecision, SettlementOf, no_settlement
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger
from clearing.rules.versions import founding_rules, require_known, rules_at
from clearing.writer.batch import LogState


def read_log_state(connection: sqlalchemy.Connection) -> LogState:
    """The state of the stored log. Raises ``LogDamagedError`` if it does not agree with itself."""
    head = read_head(connection)
    if head is None:
        return LogState(None, RightEdge.empty(), None)
    edge = RightEdge.from_tiles(head.size, stored_tiles(connection))
    if edge.root() != head.root:
        raise LogDamagedError(
            f"the stored tiles do not hash to the root of the log's head at size {head.size}; restore a backup"
        )
    directory = rebuild_directory(stream_instructions(connection), read_window_starts(connection))
    _require_newest_links(connection, head, directory)
    return LogState(head, edge, directory)


def rebuild_directory(
    instruction_entries: Iterable[LogEntry], window_starts: Mapping[WindowId, EntryIndex]
) -> Directory:
    """Fold the log's accepted instructions, in order, by the rules that accepted them."""
    directory: Directory | None = None
    no_cards = Ledger()
    for index, _, leaf in instruction_entries:
        entry = decode_entry(leaf)
        if entry.instruction_result is None:
            raise LogDamagedError(f"entry {index} is listed as an instruction and is none; restore a backup")
        instruction = decode_instruction(entry.envelope.payload)
        if directory is None:
            if index != 0 or not isinstance(instruction.action, CreateAlliance):
                raise LogDamagedError("the stored log has lost its founding instruction; restore a backup")
            rules = founding_rules(instruction.action)
            directory = replace(
                rules.decide_founding(instruction, entry.accepted_at).directory,
                log_id=log_id_of(leaf),
                window_starts=dict(window_starts),
            )
            continue
        _require_links(directory, index, entry)
        if entry.instruction_result.outcome is Outcome.ACCEPTED and rule_of(instruction.action).cards is None:
            require_known(instruction.action)
            rules = rules_at(directory, entry.accepted_at)
            # A key that the entry itself registers is not among them: it signs to prove possession, not with authority.
            keys = (KeyId(signature.keyid) for signature in entry.envelope.signatures)
            signers = tuple(key_id for key_id in keys if key_id in directory.keys)
            decision = rules.decide_instruction(
                directory, no_cards, instruction, entry.accepted_at, index, signers, _as_logged(instruction.action)
            )
            if not isinstance(decision, InstructionDecision) or decision.result != entry.instruction_result:
                raise LogDamagedError(f"the rules decide the instruction of entry {index} otherwise; restore a backup")
            directory = decision.directory
        directory = directory.with_instruction(index, entry.accepted_at)
    if directory is None:
        raise LogDamagedError("the log has entries and no founding instruction; restore a backup")
    return directory


def _as_logged(action: Action) -> SettlementOf:
    """A settlement is what the accepted proposal or approval says: the writer judged it before it was logged.

    The log's word is taken for it as for every outcome that stands in it; whoever does not take it audits.
    """

    def settlement_of(window: WindowId) -> ProposeSettlement:
        match action:
            case ProposeSettlement():
                return action
            case ApproveSettlement():
                return action.proposal
        return no_settlement(window)

    return settlement_of


def _require_newest_links(connection: sqlalchemy.Connection, head: Head, directory: Directory) -> None:
    """The log's last entry is the newest instruction or names it: one that is missing from the tables is noticed here.

    The entry itself is what was signed: its hash stands in the stored tree, whose root is the head's.
    """
    last = EntryIndex(head.size - 1)
    leaf = stored_leaf(connection, last)
    number, place = divmod(last, TILE_WIDTH)
    if leaf_hash(leaf) != stored_tiles(connection)(0, number)[place * HASH_SIZE : (place + 1) * HASH_SIZE]:
        raise LogDamagedError(f"entry {last} is not the one in the stored tree; restore a backup")
    if last == directory.last_instruction:
        return
    entry = decode_entry(leaf)
    if entry.instruction_result is not None:
        raise LogDamagedError(
            f"entry {last} is an instruction, and the tables do not list it: an instruction is missing from the "
            "database; restore a backup"
        )
    _require_links(directory, last, entry)


def _require_links(directory: Directory, index: EntryIndex, entry: Entry) -> None:
    """What the entry says of those before it is what the tables hold."""
    expected = directory.links_of(index, entry.accepted_at)
    if entry.links.last_instruction_index != expected.last_instruction_index:
        raise LogDamagedError(
            f"entry {index} says that the instruction before it is entry {entry.links.last_instruction_index}, and the "
            f"tables have entry {expected.last_instruction_index}: an instruction is missing from the database; "
            "restore a backup"
        )
    if entry.links.month_first_index != expected.month_first_index:
        raise LogDamagedError(
            f"entry {index} says that its month began with entry {entry.links.month_first_index}, and the tables have "
            f"entry {expected.month_first_index}: the start of a window is missing from the database; restore a backup"
        )
