"""Numbers for the sides of connections, by which these are found: one by one, and without numpy."""

from __future__ import annotations

import os
import struct
from typing import Final

KEYS: Final = struct.unpack("<9Q", os.urandom(72))
"""For each half word of two addresses, and for the ports. Drawn by each process: sides that were
chosen without them share a digest with a probability of 2 ** -28 at most, by pairs."""
SPARE_BITS: Final = 4
"""The lowest bits of such a sum are of fewer numbers than the highest."""
_WORD: Final = (1 << 64) - 1
_SIDES: Final = struct.Struct("<4IH4IH")


def digest_of(sides: bytes) -> int:
    """A number of 60 bits, which takes 32 bytes, and not 0; as columns.digests() has a record's.

    Args:
        sides: local address and port, remote address and port, as ends.SIDES packs them.
    """
    a, b, c, d, local_port, e, f, g, h, remote_port = _SIDES.unpack(sides)
    halves = (a, b, c, d, e, f, g, h, local_port | remote_port << 16)
    mixed = sum([key * half for key, half in zip(KEYS, halves, strict=True)])
    return int((mixed & _WORD) >> SPARE_BITS | 1)
