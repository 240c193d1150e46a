from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.wire.decode import (
    Stacked,
    WireError,
    decode_batch,
    decode_stack,
    decode_stacked,
)
from tcptrace.wire.events import STACK_DEPTH
from tcptrace.wire.layout import RECORD_FORMAT, RECORD_SIZE, STACK_SIZE
from unit import samples

raw = st.integers(0, 5).flatmap(
    lambda count: st.binary(min_size=count * RECORD_SIZE, max_size=count * RECORD_SIZE)
)


@given(raw)
def test_what_is_decoded_encodes_to_the_same_bytes(batch: bytes) -> None:
    records = list(decode_batch(batch))
    assert len(records) == len(batch) // RECORD_SIZE
    assert b"".join(struct.pack("<" + RECORD_FORMAT, *record) for record in records) == batch


def test_records_are_little_endian_whatever_the_host() -> None:
    batch = (1).to_bytes(8, "little") + bytes(RECORD_SIZE - 8)
    (record,) = decode_batch(memoryview(batch))
    assert record.at_ns == 1


@pytest.mark.parametrize("size", [1, RECORD_SIZE - 1, RECORD_SIZE + 8])
def test_half_a_record_is_an_error(size: int) -> None:
    with pytest.raises(WireError, match=f"{size} bytes are not a whole number"):
        decode_batch(bytes(size))


def packed(*frames: int) -> bytes:
    return struct.pack(f"<{len(frames)}Q", *frames).ljust(STACK_SIZE, b"\0")


def test_stacks_are_as_long_as_they_are() -> None:
    assert decode_stack(packed(3, 2, 1)) == (3, 2, 1)
    assert decode_stack(bytes(STACK_SIZE)) == ()


def test_stacks_lie_behind_their_records() -> None:
    one, other = samples.record(1), samples.record(2)
    frames = tuple(range(1, STACK_DEPTH + 1))
    batch = samples.batch(one) + packed(*frames) + samples.batch(other) + packed(7)
    assert list(decode_stacked(batch)) == [Stacked(one, frames), Stacked(other, (7,))]


def test_a_record_without_its_stack_is_an_error() -> None:
    with pytest.raises(WireError, match="not a whole number"):
        list(decode_stacked(samples.batch(samples.record())))
