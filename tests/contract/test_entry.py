"""A presentment's entry is put together from parts; its bytes are those the generated classes make of the whole."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from clearing.contract.bounds import PAYLOAD_BYTES_MAX
from clearing.contract.entry import Entry, decode_entry, encode_presentment_entry
from clearing.model import EntryIndex, EntryLinks, Instant, Outcome, Points, TransactionResult
from clearing.v1 import entry_pb2
from clearing.v1.envelope_pb2 import Envelope, Signature

LAST_INSTANT = Instant(253_402_300_799_999_999)
"""The last microsecond of the year 9999."""

NO_LINKS = EntryLinks(EntryIndex(0), EntryIndex(0))

numbers = st.integers(0, 2**63 - 1) | st.integers(0, 300)
points = numbers.map(Points)
results = st.builds(
    TransactionResult,
    st.sampled_from(Outcome),
    points,
    points,
    points,
    st.none() | (st.integers(0, 2**64 - 1) | st.integers(0, 300)).map(EntryIndex),
)
signatures = st.builds(Signature, sig=st.binary(max_size=70), keyid=st.text(max_size=40))
envelopes = st.builds(
    Envelope,
    payload=st.binary(max_size=300),
    payload_type=st.text(max_size=60),
    signatures=st.lists(signatures, max_size=4),
)
indexes = (st.integers(0, 2**64 - 1) | st.integers(0, 300)).map(EntryIndex)
instants = st.integers(0, LAST_INSTANT).map(Instant)


def by_generated_classes(
    envelope: Envelope, accepted_at: Instant, decided: list[TransactionResult], links: EntryLinks = NO_LINKS
) -> bytes:
    """The entry as one message, made of messages."""
    seconds, microseconds = divmod(accepted_at, 1_000_000)
    return entry_pb2.Entry(
        envelope=envelope,
        accepted_at=Timestamp(seconds=seconds, nanos=microseconds * 1_000),
        transaction_results=[
            entry_pb2.TransactionResult(
                outcome=int(result.outcome),  # type: ignore[arg-type]  # the stubs want the enum's own wrapper
                points=result.points,
                points_available=result.points_available,
                points_owed=result.points_owed,
                original_index=result.original_index,
            )
            for result in decided
        ],
        last_instruction_index=links.last_instruction_index,
        month_first_index=links.month_first_index,
    ).SerializeToString(deterministic=True)


@given(envelopes, instants, st.lists(results, max_size=5), st.builds(EntryLinks, indexes, indexes))
def test_the_bytes_of_an_entry_are_those_of_the_generated_classes(
    envelope: Envelope, accepted_at: Instant, decided: list[TransactionResult], links: EntryLinks
) -> None:
    leaf = encode_presentment_entry(envelope, accepted_at, decided, links)
    assert leaf == by_generated_classes(envelope, accepted_at, decided, links)
    assert decode_entry(leaf) == Entry(envelope, accepted_at, tuple(decided), None, links)


@given(st.sampled_from([128, 16_384, PAYLOAD_BYTES_MAX]), st.integers(-8, 8))
def test_an_envelope_of_any_length_is_framed_as_the_generated_classes_frame_it(length: int, near: int) -> None:
    """Around the lengths from which on a length takes a byte more, and around the largest payload."""
    envelope = Envelope(payload=bytes(length + near))
    assert encode_presentment_entry(envelope, Instant(1), [], NO_LINKS) == by_generated_classes(
        envelope, Instant(1), []
    )


def test_an_entry_at_the_beginning_of_time_still_says_so() -> None:
    result = TransactionResult(Outcome.ACCEPTED, Points(0), Points(0), Points(0), EntryIndex(0))
    leaf = encode_presentment_entry(Envelope(), Instant(0), [result], NO_LINKS)
    assert leaf == by_generated_classes(Envelope(), Instant(0), [result])
    message = entry_pb2.Entry.FromString(leaf)
    assert message.HasField("envelope")
    assert message.HasField("accepted_at")
    assert message.transaction_results[0].HasField("original_index")
