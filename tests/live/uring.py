"""accept() by io_uring: one request, by the plain system calls.

Source: include/uapi/linux/io_uring.h.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETUP: Final = 425
_ENTER: Final = 426
_GET_EVENTS: Final = 1
_OP_ACCEPT: Final = 13
_RINGS_AT: Final = 0
_ENTRIES_AT: Final = 0x1000_0000
_ENTRY_SIZE: Final = 64
_RESULT_SIZE: Final = 16
_PARAMS: Final = struct.Struct("=10I8IQ8IQ")
_SUBMIT_TAIL, _SUBMIT_ARRAY = 11, 16
_RESULTS = 24
"""Places in _PARAMS: sq_off.tail, sq_off.array, cq_off.cqes."""
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


class _Accept:
    """A request that is under way."""

    def __init__(self, listener: socket.socket, ring: int) -> None:
        self._listener = listener
        self._ring = ring
        self._results: mmap.mmap | None = None
        self._result_at = 0

    def submit(self, params: tuple[int, ...]) -> None:
        # The two rings share one mapping since 5.4 (IORING_FEAT_SINGLE_MMAP).
        self._result_at = params[_RESULTS]
        size = max(
            params[_SUBMIT_ARRAY] + 4 * params[0], self._result_at + _RESULT_SIZE * params[1]
        )
        self._results = mmap.mmap(self._ring, size, offset=_RINGS_AT)
        with mmap.mmap(self._ring, _ENTRY_SIZE * params[0], offset=_ENTRIES_AT) as entries:
            struct.pack_into("=BBHi", entries, 0, _OP_ACCEPT, 0, 0, self._listener.fileno())
        struct.pack_into("=I", self._results, params[_SUBMIT_ARRAY], 0)
        struct.pack_into("=I", self._results, params[_SUBMIT_TAIL], 1)
        assert _call(_ENTER, self._ring, 1, 0, 0, None, 0) == 1

    def accepted(self) -> socket.socket:
        """Waits for the connection."""
        assert self._results is not None
        _call(_ENTER, self._ring, 0, 1, _GET_EVENTS, None, 0)
        (descriptor,) = struct.unpack_from("=i", self._results, self._result_at + 8)
        self._results.close()
        assert descriptor >= 0, f"io_uring's accept: {os.strerror(-descriptor)}"
        server = socket.socket(fileno=descriptor)
        server.settimeout(60)
        return server


@contextmanager
def accept_by_uring(listener: socket.socket) -> Iterator[_Accept]:
    """Asks io_uring to accept one connection of a listener."""
    listener.settimeout(None)
    params = ctypes.create_string_buffer(_PARAMS.size)
    ring = _call(_SETUP, 1, params)
    try:
        accepting = _Accept(listener, ring)
        accepting.submit(_PARAMS.unpack(params.raw))
        yield accepting
    finally:
        os.close(ring)
