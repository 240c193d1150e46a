"""Bytes to records: whole batches at once, sizes checked.

A *batch* is any number of records end to end: what the ring gives, or a recording's block.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.wire.events import STACK_DEPTH, Record
from tcptrace.wire.layout import RECORD_FORMAT, RECORD_SIZE, STACK_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH: Final = struct.Struct("<" + RECORD_FORMAT)
_STACK: Final = struct.Struct(f"<{STACK_DEPTH}Q")


class WireError(ValueError):
    """The bytes are not whole records of a known kind."""


class Stacked(NamedTuple):
    """A record, and the kernel call stack behind it, innermost frame first."""

    record: Record
    stack: tuple[int, ...]
    """Offsets from `_stext`, without the unused zeros."""


def decode_batch(batch: bytes | memoryview) -> Iterator[Record]:
    """Decodes records laid end to end.

    Args:
        batch: a whole number of records, RECORD_SIZE bytes each.

    Raises:
        WireError: the size is not a multiple of RECORD_SIZE.
    """
    if len(batch) % RECORD_SIZE:
        raise WireError(f"{len(batch)} bytes are not a whole number of {RECORD_SIZE}-byte records")
    return map(Record._make, _BATCH.iter_unpack(batch))


def decode_stack(raw: bytes | memoryview) -> tuple[int, ...]:
    """Decodes the STACK_DEPTH frames that follow a record when the trace carries stacks."""
    return tuple(frame for frame in _STACK.unpack(raw) if frame)


def decode_stacked(batch: bytes | memoryview) -> Iterator[Stacked]:
    """Decodes records laid end to end, each with its stack behind it.

    Raises:
        WireError: the size is not a multiple of RECORD_SIZE + STACK_SIZE.
    """
    stride = RECORD_SIZE + STACK_SIZE
    if len(batch) % stride:
        raise WireError(f"{len(batch)} bytes are not a whole number of {stride}-byte records")
    for at in range(0, len(batch), stride):
        record = Record._make(_BATCH.unpack_from(batch, at))
        yield Stacked(record, decode_stack(batch[at + RECORD_SIZE : at + stride]))


BLANK: Final = Record._make(_BATCH.unpack(bytes(RECORD_SIZE)))
"""A record that tells nothing."""


def encode(record: Record) -> bytes:
    """The opposite."""
    return _BATCH.pack(*record)
