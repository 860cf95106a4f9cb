"""Entries of the log: the leaf's exact bytes, and the values in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from clearing.errors import ClearingError, require_identity
from clearing.model import (
    MICROSECONDS_PER_SECOND,
    EntryIndex,
    EntryLinks,
    Instant,
    InstructionResult,
    Outcome,
    Points,
    TransactionResult,
    WindowRange,
)
from clearing.v1 import entry_pb2
from clearing.v1.envelope_pb2 import Envelope

ENTRY_BYTES_MAX = 65_535
"""C2SP tlog-tiles: an entry bundle gives each entry a length of two bytes."""


class EntryError(ClearingError):
    """Bytes of the log that are not an entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf of the log. It has either transaction results or an instruction result."""

    envelope: Envelope
    accepted_at: Instant
    transaction_results: tuple[TransactionResult, ...]
    instruction_result: InstructionResult | None
    links: EntryLinks


def timestamp_of(instant: Instant) -> Timestamp:
    """The protobuf form of an instant."""
    seconds, microseconds = divmod(instant, MICROSECONDS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)


def instant_of(timestamp: Timestamp) -> Instant:
    """The instant of a timestamp, cut to the microsecond."""
    return Instant(timestamp.seconds * MICROSECONDS_PER_SECOND + timestamp.nanos // 1000)


def encode_presentment_entry(
    envelope: Envelope, accepted_at: Instant, results: Sequence[TransactionResult], links: EntryLinks
) -> bytes:
    """The leaf of a decided presentment."""
    entry = entry_pb2.Entry()
    # By assignment: to make messages by keywords takes twice as long.
    time = entry.accepted_at
    time.seconds, microseconds = divmod(accepted_at, MICROSECONDS_PER_SECOND)
    time.nanos = microseconds * 1000
    add_result = entry.transaction_results.add
    for outcome, points, points_available, points_owed, original_index in results:
        result = add_result()
        result.outcome = outcome  # type: ignore[assignment]  # the stubs want the enum's own wrapper
        result.points = points
        result.points_available = points_available
        result.points_owed = points_owed
        if original_index is not None:
            result.original_index = original_index
    entry.last_instruction_index, entry.month_first_index = links
    # The envelope is the first field, and serialised fields follow one another: so it is not copied into a message.
    serialised = envelope.SerializeToString()
    return _checked(_envelope_prefix(len(serialised)) + serialised + entry.SerializeToString())


@lru_cache(maxsize=4096)
def _envelope_prefix(length: int) -> bytes:
    """What the wire format has in front of an entry's envelope of so many bytes: the field's tag and a varint."""
    prefix = [entry_pb2.Entry.ENVELOPE_FIELD_NUMBER << 3 | 2]
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length])


def encode_instruction_entry(
    envelope: Envelope, accepted_at: Instant, result: InstructionResult, links: EntryLinks
) -> bytes:
    """The leaf of a decided instruction."""
    message = entry_pb2.InstructionResult(
        outcome=int(result.outcome),  # type: ignore[arg-type]  # the stubs want the enum's own wrapper
        points_expired=result.points_expired,
    )
    if result.window_range is not None:
        message.window_range.first_index = result.window_range.first_index
        message.window_range.end_index = result.window_range.end_index
    entry = entry_pb2.Entry(
        envelope=envelope,
        accepted_at=timestamp_of(accepted_at),
        instruction_result=message,
        last_instruction_index=links.last_instruction_index,
        month_first_index=links.month_first_index,
    )
    return _checked(entry.SerializeToString(deterministic=True))


def _checked(leaf: bytes) -> bytes:
    # The bounds on payload, signatures and points keep entries below this.
    require_identity(len(leaf) <= ENTRY_BYTES_MAX, f"an entry has at most {ENTRY_BYTES_MAX:,} bytes")
    return leaf


def decode_entry(leaf: bytes) -> Entry:
    """The values in a leaf. Raises ``EntryError`` where the bytes are no entry."""
    try:
        message = entry_pb2.Entry.FromString(leaf)
        return Entry(
            envelope=message.envelope,
            accepted_at=instant_of(message.accepted_at),
            transaction_results=tuple(_transaction_result(result) for result in message.transaction_results),
            instruction_result=(
                _instruction_result(message.instruction_result) if message.HasField("instruction_result") else None
            ),
            links=EntryLinks(EntryIndex(message.last_instruction_index), EntryIndex(message.month_first_index)),
        )
    except (DecodeError, ValueError) as error:
        raise EntryError(f"not an entry of a clearing log: {error}") from None


def _transaction_result(message: entry_pb2.TransactionResult) -> TransactionResult:
    original_index = EntryIndex(message.original_index) if message.HasField("original_index") else None
    return TransactionResult(
        Outcome(message.outcome),
        Points(message.points),
        Points(message.points_available),
        Points(message.points_owed),
        original_index,
    )


def _instruction_result(message: entry_pb2.InstructionResult) -> InstructionResult:
    window_range = None
    if message.HasField("window_range"):
        window_range = WindowRange(
            EntryIndex(message.window_range.first_index), EntryIndex(message.window_range.end_index)
        )
    return InstructionResult(Outcome(message.outcome), window_range, Points(message.points_expired))
