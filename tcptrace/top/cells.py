"""What fits into columns of a terminal: text of known width, bars, sparklines. Pure.

A line is a list of pieces, each with its look: "", good, warn, bad, dim, strong or title. All text
from outside comes through plain(): what it then holds has a width, and stays where it is put.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, get_character_cell_size, set_cell_size

from tcptrace.sinks.terminal import safe_text
from tcptrace.sinks.units import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Piece = tuple[str, str]
"""Text and its look."""
Line = list[Piece]

_STEPS: Final = "▁▂▃▄▅▆▇█"
_NOW: Final = "█"
_PEAK: Final = "▒"
_FREE: Final = "░"
BLOCKS: Final = frozenset(f"{_STEPS}{_NOW}{_PEAK}{_FREE}")
"""What bars and sparklines are made of."""
_RIGHT_TO_LEFT: Final = ("R", "AL", "AN")
NEARLY_FULL: Final = 0.8


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    r"""Escapes what could steer a terminal, has no width, or turns the order of what follows."""
    text = safe_text(text)
    if text.isascii():
        return text
    return "".join(char if _stays(char) else ascii(char)[1:-1] for char in text)


def _stays(char: str) -> bool:
    turns = unicodedata.bidirectional(char) in _RIGHT_TO_LEFT
    return get_character_cell_size(char) > 0 and not turns


def fit(text: str, width: int) -> str:
    """Exactly so many columns of plain text, on the left; what is cut ends in `…`."""
    if len(text) == width and text.isascii():
        return text
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return set_cell_size(text, width)


def fit_right(text: str, width: int) -> str:
    """The same on the right; a number is never cut, but told to be too long."""
    return text.rjust(width) if len(text) <= width else "…".rjust(width)


def fit_end(text: str, width: int) -> str:
    """The same on the left, but cut at its begin: of an address the port stays."""
    cut = len(text) - width + 1
    return fit(text if cell_len(text) <= width else f"…{text[cut:]}", width)


def width_of(line: Iterable[Piece]) -> int:
    """Columns of a line."""
    return sum(cell_len(text) for text, _ in line)


def look_of(fill: float) -> str:
    """How full a queue looks: 1 is full."""
    if fill >= 1:
        return "bad"
    return "warn" if fill >= NEARLY_FULL else "good"


def bar(length: float, peak: float, width: int) -> Line:
    """How full a queue is, and was at its peak, as shares of what fits in."""
    now, most = _cells(length, width), _cells(peak, width)
    most = max(now, most)
    look = look_of(max(length, peak))
    return [
        (_NOW * now, look_of(length)),
        (_PEAK * (most - now), look),
        (_FREE * (width - most), "dim"),
    ]


def _cells(share: float, width: int) -> int:
    """All of them only if it is full, and one if it is not empty."""
    if share <= 0 or not width:
        return 0
    return width if share >= 1 else max(1, min(width - 1, round(share * width)))


def sparkline(shares: Sequence[float | None], width: int) -> Line:
    """A share's course, the newest on the right: the greatest of what falls into each column.

    Args:
        shares: from the oldest to the newest, at equal times apart; None where nothing is known.
        width: columns.
    """
    line: Line = []
    count = len(shares)
    for column in range(width):
        begin, end = column * count // width, (column + 1) * count // width
        known = [one for one in shares[begin : max(end, begin + 1)] if one is not None]
        if not known:
            line.append((" ", ""))
            continue
        most = max(known)
        step = min(len(_STEPS) - 1, int(most * len(_STEPS)))
        line.append((_STEPS[step], look_of(most) if most > 0 else "dim"))
    return line


def rate_text(rate: float) -> str:
    """How often a second, in at most 4 columns: `-` for never, `<0.1`, `3.4`, `1.2k`."""
    if rate <= 0:
        return "-"
    if rate < 0.05:  # noqa: PLR2004 - would be 0.0
        return "<0.1"
    return f"{rate:.1f}" if rate < 99.95 else short(round(rate))  # noqa: PLR2004 - 4 columns
