"""`struct` formats and sizes, worked out from the one definition of a record or slot.

Natural alignment must need no padding: every field lies at a multiple of its own size, and the
record's size is a multiple of 8, as the kernel's ring wants it.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_type_hints

from tcptrace.wire.events import STACK_DEPTH, Record, Wire

if TYPE_CHECKING:
    from tcptrace.wire.head import TraceHead

_CODES: Final = {"u8": ("B", 1), "u16": ("H", 2), "u32": ("I", 4), "u64": ("Q", 8)}
_ARRAY: Final = re.compile(r"(u\d+)\[(\d+)\]")


class FieldLayout(NamedTuple):
    """One field: its name, wire definition, `struct` code, offset and size in bytes."""

    name: str
    wire: Wire
    code: str
    offset: int
    size: int
    items: int
    """Items of an array of numbers; 0 for a number or raw bytes."""


def lay_out(definition: type[tuple[Any, ...]]) -> tuple[FieldLayout, ...]:
    """Lays out the annotated fields of a NamedTuple one after the other.

    Raises:
        AssertionError: a field would need padding.
    """
    fields = []
    offset = 0
    for name, hint in get_type_hints(definition, include_extras=True).items():
        wire: Wire = hint.__metadata__[0]
        code, alignment, size, items = _code_of(wire.ctype)
        if offset % alignment:
            raise AssertionError(f"{name} would need padding before it")
        fields.append(FieldLayout(name, wire, code, offset, size, items))
        offset += size
    if offset % 8:
        raise AssertionError(f"{offset} bytes are not a multiple of 8")
    return tuple(fields)


def _code_of(ctype: str) -> tuple[str, int, int, int]:
    """A type's `struct` code, alignment and size in bytes, and items if it is an array."""
    array = _ARRAY.fullmatch(ctype)
    if array is None:
        code, size = _CODES[ctype]
        return code, size, size, 0
    code, size = _CODES[array[1]]
    count = int(array[2])
    if size == 1:
        return f"{count}s", 1, count, 0
    return f"{count}{code}", size, count * size, count


FIELDS: Final = lay_out(Record)
OFFSETS: Final = {field.name: field.offset for field in FIELDS}
"""Where each field of a record begins, in bytes."""
RECORD_FORMAT: Final = "".join(field.code for field in FIELDS)
RECORD_SIZE: Final = struct.calcsize("<" + RECORD_FORMAT)
STACK_SIZE: Final = 8 * STACK_DEPTH


def stride_of(head: TraceHead) -> int:
    """Returns how many bytes lie from one record's begin to the next one's."""
    return RECORD_SIZE + (STACK_SIZE if head.stacks else 0)


def time_at(records: bytes, start: int) -> int:
    """The time of the record that begins there."""
    at = start + OFFSETS["at_ns"]
    return int.from_bytes(records[at : at + 8], "little")
