"""The few figures that README.md tells, as docs/performance.json has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .parts import NATIVE
from .results import shown, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BEGIN, END = "<!-- figures: make bench -->", "<!-- end of figures -->"
_KERNEL = "6.1"
_SPREAD = re.compile(r" \(.*\)")


def replaced(text: str, figures: dict[str, Any]) -> str:
    """Returns the text with these figures in the place of the former ones."""
    return between(text, _lines(figures))


def between(text: str, lines: Iterable[str]) -> str:
    """Returns the text with these lines between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, *lines, END + after])


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    tools = list(_cells(figures, "instructions", _KERNEL, "in all", "resident"))
    if tools:
        yield f"| on {_KERNEL} | instructions added to a connection, both ends | resident |"
        yield "|---|---:|---:|"
        for name, (added, resident) in tools:
            yield f"| {_as_code(name)} | {added} | {resident} MB |"
        yield ""
    for name, (seconds, resident) in _cells(
        figures, "first_line", _KERNEL, "first line", "resident"
    ):
        yield (
            f"- {_as_code(name)}, from the command to the first line in an emulated guest:"
            f" {seconds} s; {resident} MB resident"
        )
    for name, (rate,) in _cells(figures, "userland", NATIVE, "rate"):
        yield f"- userland alone, {name}: {rate} events/s"
    for name, (a_life,) in _cells(figures, "lives", NATIVE, "a life"):
        if a_life != "–":
            yield f"- {name} open lives: {a_life} bytes each"
    for name, (took,) in _cells(figures, "scrape", NATIVE, "took"):
        yield f"- a scrape of 1,000 listeners and 100,000 open sockets, {name}: {took} ms"


def _cells(
    figures: dict[str, Any], part: str, place: str, *columns: str
) -> Iterator[tuple[str, list[str]]]:
    """Rows of a part's first table: a name, and the medians in some columns."""
    tables = tables_of(figures["parts"].get(part, {}).get(place, {}))
    for table in tables[:1]:
        places = [[one.name for one in table.columns].index(name) for name in columns]
        for name, row in table.rows.items():
            cells = [shown(row[at], table.columns[at]) for at in places]
            yield name, [_SPREAD.sub("", cell) for cell in cells]


def _as_code(name: str) -> str:
    """A command line is code; words about it are not."""
    command, comma, words = name.partition(",")
    return f"`{command}`{comma}{words}" if command.startswith("tcp") else name
