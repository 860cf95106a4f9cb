"""What an entry says of those before it: the last instruction, and where its month began."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clearing.model import MICROSECONDS_PER_DAY, EntryIndex, Instant
from tests.rules.script import constitution, founded, time_in


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 70 * MICROSECONDS_PER_DAY)), max_size=40))
def test_every_entry_names_the_last_instruction_and_its_months_first_entry_as_defined(
    steps: list[tuple[bool, int]],
) -> None:
    """The state that is carried along says the same as a look through all entries before."""
    at = time_in("2026-01-01", "UTC")
    directory = founded(constitution(time_zone="UTC"), at).with_instruction(EntryIndex(0), at)
    entries = [(True, directory.window_at(at))]
    for is_instruction, gap in steps:
        at = Instant(at + gap)
        index, window = EntryIndex(len(entries)), directory.window_at(at)
        links = directory.links_of(index, at)
        entries.append((is_instruction, window))
        assert links.last_instruction_index == max(
            number for number, (instruction, _) in enumerate(entries[:index]) if instruction
        )
        assert links.month_first_index == min(number for number, (_, month) in enumerate(entries) if month == window)
        follow = directory.with_instruction if is_instruction else directory.with_entry
        directory = follow(index, at)
