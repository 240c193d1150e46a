"""How this process has its memory: where many records are handled at once, and while it rests."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Of mallopt(3)."""
_PR_SET_THP_DISABLE: Final = 41
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


def take_small_pages() -> None:
    """Has the kernel give no huge pages: a process at rest would keep what nobody ever wrote to.

    That is some megabytes where it gives them unasked (transparent_hugepage: always). A million
    open lives are as fast without.
    """
    ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
