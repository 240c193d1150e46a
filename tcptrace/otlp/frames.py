"""What goes through the pipe to the child that sends: a kind, a length, a payload."""

from __future__ import annotations

import json
import math
import os
import select
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN: Final = b"B"
"""JSON: settings, and what is told of the host. The first, and only that."""
METRICS: Final = b"M"
"""When they were read, ns since 1970, in 8 bytes; then the exposition in Prometheus' protobuf."""
LIFE: Final = b"L"
"""JSON: a life's spans."""
_HEAD: Final = struct.Struct(">cI")
_MOST_PAYLOAD: Final = 1 << 27
_MOST_READ: Final = 1 << 18


def encode(kind: bytes, payload: bytes) -> bytes:
    """Returns one frame."""
    return _HEAD.pack(kind, len(payload)) + payload


class Reader:
    """Takes frames from a descriptor.

    Attributes:
        ended: whether no more will come.
    """

    def __init__(self, descriptor: int) -> None:
        self.ended = False
        self._descriptor = descriptor
        self._buffer = bytearray()

    def first(self) -> Any:
        """Waits for the first frame; returns what its JSON says.

        Raises:
            ValueError: it is another, or never comes.
        """
        while not self.ended:
            for kind, payload in self.read(math.inf):
                if kind == BEGIN:
                    return json.loads(payload)
        raise ValueError("nothing to begin with")

    def read(self, wait_s: float) -> Iterator[tuple[bytes, bytes]]:
        """Yields the frames that are complete, after waiting for more up to so many seconds."""
        timeout_s = None if math.isinf(wait_s) else wait_s
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return
        part = os.read(self._descriptor, _MOST_READ)
        self.ended = not part
        self._buffer += part
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> tuple[bytes, bytes] | None:
        if len(self._buffer) < _HEAD.size:
            return None
        kind, size = _HEAD.unpack_from(self._buffer)
        if size > _MOST_PAYLOAD:
            raise ValueError("a frame is too long")
        end = _HEAD.size + size
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_HEAD.size : end])
        del self._buffer[:end]
        return kind, payload
