"""What docs/faq.md answers to who asks what tracing costs, as docs/performance.json has it."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final

from .aims import Place, medians
from .excerpt import between
from .parts import NATIVE
from .results import tables_of

if TYPE_CHECKING:
    from .aims import Figures

_KERNEL: Final = "6.1"
_WIDTH: Final = 118
_BARE: Final = re.compile(r"Without a tracer: ([\d,]+) instructions a connection\.")
_IN_ALL: Final = Place("instructions", "in all")
_PROBES: Final = Place("instructions", "probes")
_BESIDES: Final = Place("instructions", "takes", "What the tracer takes besides")


def answered(text: str, figures: Figures) -> str:
    """Returns the page with these figures in the place of the former ones.

    Raises:
        IndexError: one of them has not been measured.
    """
    served = _of(figures, _IN_ALL, "tcptrace serve")
    bare = _bare(figures)
    probes = _of(figures, _PROBES, "tcptrace serve")
    left_out = _of(figures, _IN_ALL, "tcptrace port, of another port")
    busy = (
        f"With `serve`, a connection on loopback, both ends of it, takes {served:,.0f} instructions"
        f" more than the {bare:,} that it takes anyway: {served / bare * 100:.0f} %."
        f" {probes:,.0f} of them are the probes', in the connection's way; the others are the"
        f" collector's, beside it. A packet that changes no state costs nothing. With a filter that"
        f" leaves the connection out it is {left_out:,.0f} in all."
    )
    serve, port = (
        _of(figures, _BESIDES, f"tcptrace {command}: idle, a second") / 1e6
        for command in ("serve", "port")
    )
    resident = _of(figures, Place("resident", "in all"), "tcptrace serve, idle")
    a_life = _of(figures, Place("lives", "a life"), "1,000,000", NATIVE)
    idle = (
        f"While nothing happens `serve` takes {serve:.1f} million instructions a second, `port`"
        f" {port:.1f} million. An idle `serve` keeps {resident:.1f} MB in memory; each of a million"
        f" open connections {a_life:.0f} bytes more."
    )
    return between(text, [_wrapped(busy), "", _wrapped(idle)])


def _of(figures: Figures, place: Place, row: str, where: str = _KERNEL) -> float:
    return medians(figures, where, place, row)[0]


def _bare(figures: Figures) -> int:
    """What a connection takes that nobody traces."""
    tables = tables_of(figures["parts"]["instructions"][_KERNEL])
    found = [_BARE.fullmatch(note) for table in tables for note in table.notes or ()]
    return next(int(one[1].replace(",", "")) for one in found if one)


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH, break_on_hyphens=False)
