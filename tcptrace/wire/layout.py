"""The record's `struct` format and size, worked out from its one definition.

Natural alignment must need no padding: every field lies at a multiple of its own size, and the
record's size is a multiple of 8, as the kernel's ring wants it.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple, get_type_hints

from tcptrace.wire.events import STACK_DEPTH, Record, Wire

_CODES: Final = {"u8": ("B", 1), "u16": ("H", 2), "u32": ("I", 4), "u64": ("Q", 8)}
_BYTES = re.compile(r"u8\[(\d+)\]")


class FieldLayout(NamedTuple):
    """One field: its name, wire definition, `struct` code, offset and size in bytes."""

    name: str
    wire: Wire
    code: str
    offset: int
    size: int


def _lay_out() -> tuple[FieldLayout, ...]:
    fields = []
    offset = 0
    for name, hint in get_type_hints(Record, include_extras=True).items():
        wire: Wire = hint.__metadata__[0]
        raw = _BYTES.fullmatch(wire.ctype)
        code, size = (f"{raw[1]}s", int(raw[1])) if raw else _CODES[wire.ctype]
        alignment = 1 if raw else size
        if offset % alignment:
            raise AssertionError(f"{name} would need padding before it")
        fields.append(FieldLayout(name, wire, code, offset, size))
        offset += size
    if offset % 8:
        raise AssertionError(f"a record of {offset} bytes is not a multiple of 8")
    return tuple(fields)


FIELDS: Final = _lay_out()
RECORD_FORMAT: Final = "".join(field.code for field in FIELDS)
RECORD_SIZE: Final = struct.calcsize("<" + RECORD_FORMAT)
STACK_SIZE: Final = 8 * STACK_DEPTH
