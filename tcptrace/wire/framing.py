"""Many records at once, without decoding any: out of the ring, and for the places that they name.

`wire.columns` has the same by numpy: five times as fast, but it takes a while to load.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final, Protocol

from tcptrace.wire.layout import OFFSETS

HEADER_SIZE: Final = 8
"""Before each record in a ring."""
BUSY: Final = 1 << 31
DISCARDED: Final = 1 << 30
"""Bits of a header's first word, which is the record's length without them."""

_NETNS: Final = OFFSETS["netns"] // 4
_CGROUP: Final = OFFSETS["cgroup"] // 4


class Framing(Protocol):
    """One of the two ways."""

    def unframe(self, span: memoryview, stride: int) -> tuple[bytes, int]:
        """Takes a ring's records out of their frames, up to the first that is being written.

        Args:
            span: a whole number of records, each behind its header.
            stride: bytes from one header to the next.

        Returns:
            The records end to end, without those that were given up; and how many headers there
            were.
        """

    def places_in(self, batch: bytes, stride: int) -> set[tuple[int, int]]:
        """The different network namespaces and cgroups that records name together.

        Args:
            batch: a whole number of records, end to end.
            stride: bytes from one record to the next.
        """


def unframe(span: memoryview, stride: int) -> tuple[bytes, int]:
    """As Framing has it."""
    # Headers first: what is copied must have been finished before.
    lengths = span.cast("I")[:: stride // 4].tolist()
    taken = next((place for place, length in enumerate(lengths) if length & BUSY), len(lengths))
    records = _frames(stride).iter_unpack(span[: taken * stride])
    kept = b"".join(record for length, record in records if not length & DISCARDED)
    return kept, taken


@cache
def _frames(stride: int) -> struct.Struct:
    return struct.Struct(f"<I4x{stride - HEADER_SIZE}s")


def places_in(batch: bytes, stride: int) -> set[tuple[int, int]]:
    """As Framing has it."""
    words, step = memoryview(batch).cast("I"), stride // 4
    return set(zip(words[_NETNS::step], words[_CGROUP::step], strict=True))
