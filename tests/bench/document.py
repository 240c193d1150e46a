"""Writes docs/performance.md from docs/performance.json: `python -m tests.bench.document`."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from . import aims, makeup
from .answer import answered
from .excerpt import replaced
from .parts import CHECKOUT, NATIVE, PARTS
from .pictures import PICTURES, draw
from .results import shown, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .parts import Part
    from .results import Table

FIGURES = CHECKOUT / "docs" / "performance.json"
README = CHECKOUT / "README.md"
FAQ = CHECKOUT / "docs" / "faq.md"
PAGE = CHECKOUT / "docs" / "performance.md"
_INTRODUCTION = """# What tracing costs

Written by `make bench` from docs/performance.json; do not edit. `make bench PARTS="lives scrape"`
measures those parts alone and leaves the others' figures; each part's own command is below its
heading.

A figure is the median of several runs where a range follows it: the least and the most of them. A
bench run compares itself with the figures that were committed last, tells at its end what has got
worse, and then exits with 3: instructions by more than 2 %; others when every run was worse than
each before, by more than a tenth. Times are compared on the same machine only.

Guests are emulated (QEMU without KVM) and run Debian's kernels; peers are Debian's packages.
"""


def page(figures: dict[str, Any]) -> str:
    """Returns the page's whole text."""
    lines = [_INTRODUCTION, "## What it may cost at most", "", *aims.lines(figures)]
    lines += makeup.lines(figures)
    for part in PARTS:
        places = figures["parts"].get(part.name)
        if places:
            lines += ["", f"## {part.title}", "", part.means, *_part(part, places)]
    return "\n".join(lines) + "\n"


def _part(part: Part, places: dict[str, Any]) -> Iterator[str]:
    for place, told in places.items():
        machine = told["machine"]
        where = [] if place == NATIVE else [f"Linux {told['kernel']}"]
        if not part.icount:  # which tells the same on every machine
            where.append(f"{machine['cores']} cores of {machine['cpu']}")
        if not part.root:  # which has a Python of its own
            where.append(f"Python {machine['python']}")
        yield from ("", f"`{' '.join(part.command(place))}`", f"on {', '.join(where)}:")
        for table in tables_of(told):
            yield from _table(table)
    for picture in PICTURES:
        if picture.part == part.name:
            yield from ("", f"![{picture.title}](img/{picture.file})")


def _table(table: Table) -> Iterator[str]:
    heads = [f"{one.name}, {one.unit}" if one.unit else one.name for one in table.columns]
    yield from ("", f"{table.title[0].upper()}{table.title[1:]}:", "") if table.title else ("",)
    yield f"| {' | '.join((table.head, *heads))} |"
    yield f"|---|{'---:|' * len(heads)}"
    for name, row in table.rows.items():
        cells = [shown(values, column) for values, column in table.pairs(row)]
        yield f"| {' | '.join((name, *cells))} |"
    if table.notes:
        yield from ("", *table.notes)


def write(figures: dict[str, Any]) -> None:
    """Writes the figures, their page, the pictures, and what README.md and the FAQ tell of them."""
    FIGURES.write_text(_as_json(figures), encoding="utf-8")
    draw(figures)
    PAGE.write_text(page(figures), encoding="utf-8")
    README.write_text(replaced(README.read_text(encoding="utf-8"), figures), encoding="utf-8")
    FAQ.write_text(answered(FAQ.read_text(encoding="utf-8"), figures), encoding="utf-8")


def _as_json(figures: dict[str, Any]) -> str:
    """The runs of a figure on one line."""
    text = json.dumps(figures, ensure_ascii=False, indent=1)
    return re.sub(r"\[[\s\d.,e+-]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


if __name__ == "__main__":
    write(json.loads(FIGURES.read_text(encoding="utf-8")))
    sys.exit()
