"""The C library's heap, where many records are handled at once."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Of mallopt(3)."""
_MOST_KEPT: Final = 32 << 20
_LARGEST_KEPT: Final = 16 << 20


def keep_freed() -> None:
    """Has memory kept that was freed, up to _MOST_KEPT bytes, for what is allocated next.

    A window's columns are allocated, used once and freed. By itself glibc gives such memory back to
    the kernel and takes it anew, page by page: a seventh of what userland does for a connection.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.malloc_trim(0)  # what the beginning left
        libc.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
