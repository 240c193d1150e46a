"""Names kernel functions from /proc/kallsyms, by their offset from `_stext`.

Offsets, not addresses, go through the records: where the kernel lies in memory (KASLR) stays here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import Final, Self

from tcptrace.errors import CannotTrace

_KALLSYMS: Final = Path("/proc/kallsyms")
_TEXT: Final = re.compile(rb"^([0-9a-f]+) [tTwW] (\S+)", re.MULTILINE)
_MASK: Final = 2**64 - 1


class Symbols:
    """The kernel's functions, sorted by offset.

    Args:
        symbols: (offset from _stext, name) pairs.
    """

    def __init__(self, symbols: list[tuple[int, str]]) -> None:
        ordered = sorted(symbols)
        self._offsets = [offset for offset, _ in ordered]
        self._names = [name for _, name in ordered]

    @classmethod
    def of_kernel(cls) -> Self:
        """Reads every function of the running kernel and its modules; needs root."""
        base = stext()
        return cls(
            [
                ((int(address, 16) - base) & _MASK, name.decode())
                for address, name in _TEXT.findall(kallsyms())
            ]
        )

    def name(self, offset: int) -> str | None:
        """The function that an offset lies in; None before the first."""
        at = bisect_right(self._offsets, offset)
        return self._names[at - 1] if at else None


@cache
def kallsyms() -> bytes:
    """All of /proc/kallsyms."""
    return _KALLSYMS.read_bytes()


def stext() -> int:
    """The address of the kernel's first instruction: what frames are counted from.

    Raises:
        CannotTrace: addresses are hidden from this process.
    """
    match = re.search(rb"^([0-9a-f]+) T _stext$", kallsyms(), re.MULTILINE)
    if match is None or int(match[1], 16) == 0:
        raise CannotTrace("/proc/kallsyms hides addresses (kernel.kptr_restrict): no --stacks here")
    return int(match[1], 16)
