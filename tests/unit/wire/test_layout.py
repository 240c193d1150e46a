from __future__ import annotations

import struct

from tcptrace.wire.events import STACK_DEPTH, Flag, Kind, Record, Stage
from tcptrace.wire.layout import FIELDS, RECORD_FORMAT, RECORD_SIZE, STACK_SIZE


def test_fields_are_the_records_in_its_order() -> None:
    assert tuple(field.name for field in FIELDS) == Record._fields


def test_fields_follow_each_other_without_padding() -> None:
    """`struct` with native alignment, as the C compiler lays it out, agrees."""
    assert struct.calcsize("@" + RECORD_FORMAT) == RECORD_SIZE
    end = 0
    for field in FIELDS:
        assert field.offset == end, field.name
        end += field.size
    assert end == RECORD_SIZE


def test_numbers_are_aligned_and_the_ring_too() -> None:
    for field in FIELDS:
        if not field.wire.ctype.startswith("u8["):
            assert field.offset % field.size == 0, field.name
    assert RECORD_SIZE % 8 == 0
    assert STACK_SIZE == 8 * STACK_DEPTH


def test_values_fit_their_bytes_and_the_counters_their_places() -> None:
    """COUNTER_LOST + kind lies below COUNTER_STAGE, that + stage below COUNTER_HITS."""
    assert max(Kind) < 32
    assert max(Stage) < 32
    assert sum(Flag) < 256
    assert min(Kind) == 1, "a record of zeros must be no record"
