from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import (
    COUNTS,
    FIELDS,
    SLOT_SIZE,
    Count,
    Slot,
    decode_slot,
    encode_slot,
)


@st.composite
def any_slot(draw: st.DrawFn) -> Slot:
    def value(size: int, items: int) -> object:
        number = st.integers(0, 256 ** (size // max(items, 1)) - 1)
        return draw(st.tuples(*[number] * items) if items else number)

    return Slot._make(
        draw(st.binary(min_size=16, max_size=16))
        if field.code == "16s"
        else value(field.size, field.items)
        for field in FIELDS
    )


@given(any_slot())
def test_what_was_encoded_is_decoded(one: Slot) -> None:
    raw = encode_slot(one)
    assert len(raw) == SLOT_SIZE
    assert decode_slot(raw) == one
    assert decode_slot(memoryview(raw)) == one


@given(st.binary(min_size=SLOT_SIZE, max_size=SLOT_SIZE))
def test_any_bytes_of_its_size_are_a_slot(raw: bytes) -> None:
    assert encode_slot(decode_slot(raw)) == raw


def test_stages_and_counts_share_their_places_without_overlap() -> None:
    assert {*Stage, *Count} == set(range(COUNTS))
    assert {*map(int, Stage)} & {*map(int, Count)} == {Stage.NONE}, "nothing is counted there"


def test_the_sequence_comes_first() -> None:
    """The reader looks at it alone, at the slot's begin."""
    assert FIELDS[0].name == "sequence"
    assert FIELDS[0].offset == 0
    assert SLOT_SIZE % 8 == 0
