"""What tracing may cost at most, beside what it costs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .parts import NATIVE
from .results import tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KERNELS: Final = ("6.1", "6.12")
Figures = dict[str, Any]


class Place(NamedTuple):
    """Where a figure is: its part, the part's table and the table's column."""

    part: str
    column: str
    table: str = ""


class Aim(NamedTuple):
    """What a figure should not be above, or below.

    Attributes:
        what: is measured.
        limit: with its unit, in words.
        bound: the same as a number.
        found: the figure, or those of several rows of which the worst counts; empty: none yet.
        place: where it was measured.
        is_least: whether the limit is the least that it should be.
    """

    what: str
    limit: str
    bound: float
    found: Callable[[Figures, str], Sequence[float]]
    place: str = NATIVE
    is_least: bool = False


def medians(figures: Figures, kernel: str, place: Place, row: str = "") -> list[float]:
    """The median of a row's figure; of every row's, if none is named."""
    told = figures["parts"].get(place.part, {}).get(kernel, {})
    for table in tables_of(told):
        names = [column.name for column in table.columns]
        if table.title == place.table and place.column in names:
            cells = {name: cells[names.index(place.column)] for name, cells in table.rows.items()}
            wanted = [cells.get(row, [])] if row else cells.values()
            return [statistics.median(values) for values in wanted if values]
    return []


def _of(place: Place, *rows: str) -> Callable[[Figures, str], list[float]]:
    def found(figures: Figures, kernel: str) -> list[float]:
        return [one for row in rows or ("",) for one in medians(figures, kernel, place, row)]

    return found


def _ratio(place: Place, row: str, to_row: str) -> Callable[[Figures, str], list[float]]:
    def found(figures: Figures, kernel: str) -> list[float]:
        values = medians(figures, kernel, place, row)
        to = medians(figures, kernel, place, to_row)
        return [values[0] / to[0]] if values and to else []

    return found


_ADDED: Final = Place("instructions", "in all")
_HOOKS: Final = Place("hooks", "added", "All hooks")
_BESIDE: Final = Place("lives", "an event beside them")
_FIRST: Final = Place("first_line", "first line")
_SCRAPE: Final = Place("scrape", "took", "1,000 listeners, 100,000 open sockets")


def _on_each_kernel(
    what: str, limit: str, bound: float, found: Callable[[Figures, str], Sequence[float]]
) -> Iterator[Aim]:
    for kernel in KERNELS:
        yield Aim(f"{what}, {kernel}", limit, bound, found, kernel)


AIMS: Final = (
    *_on_each_kernel(
        "`tcptrace serve`: instructions added to a connection",
        "50,000",
        50_000,
        _of(_ADDED, "tcptrace serve"),
    ),
    *_on_each_kernel(
        "`tcptrace port --json`: the same", "90,000", 90_000, _of(_ADDED, "tcptrace port --json")
    ),
    *_on_each_kernel(
        "hooks alone, a connection that the filter leaves out: instructions added",
        "3,000",
        3_000,
        _of(_HOOKS, "port, of another port, fentry"),
    ),
    *_on_each_kernel(
        "hooks alone, of `serve`: instructions added to a connection",
        "12,000",
        12_000,
        _of(_HOOKS, "serve, fentry"),
    ),
    Aim(
        "userland of `serve`, events/s",
        "1,000,000",
        1_000_000,
        _of(Place("userland", "rate"), "serve: lives, counts, one scrape"),
        is_least=True,
    ),
    Aim(
        "an event beside 1,000,000 open lives, to one beside 1,000",
        "1.2 ×",
        1.2,
        _ratio(_BESIDE, "1,000,000", "1,000"),
    ),
    Aim(
        "an event of 1,000,000 open lives, to one of 1,000",
        "1.2 ×",
        1.2,
        _ratio(Place("lives", "an event of theirs"), "1,000,000", "1,000"),
    ),
    *_on_each_kernel(
        "command to first line, to that of tcpstates-bpfcc",
        "0.25 ×",
        0.25,
        _ratio(_FIRST, "tcptrace port", "tcpstates-bpfcc"),
    ),
    Aim(
        "`serve`, idle: resident, MB",
        "40",
        40,
        _of(Place("resident", "in all"), "tcptrace serve, idle"),
        "6.1",
    ),
    Aim("an open life, bytes", "400", 400, _of(Place("lives", "a life"), "1,000,000")),
    Aim("a scrape of 1,000 listeners and 100,000 sockets, ms", "20", 20, _of(_SCRAPE)),
    Aim("the slowest command without a kernel, s", "0.15", 0.15, _of(Place("start", "took"))),
    Aim(
        "`tcptrace port`, up to the first probe that it would attach, s",
        "0.5",
        0.5,
        _of(Place("start", "took", "Up to the attaching"), "tcptrace port"),
    ),
)


def lines(figures: Figures) -> Iterator[str]:
    """A table of the aims that there are figures for."""
    yield from ("| | aim | measured | |", "|---|---:|---:|---|")
    for aim in AIMS:
        if values := aim.found(figures, aim.place):
            value = min(values) if aim.is_least else max(values)
            is_met = value >= aim.bound if aim.is_least else value <= aim.bound
            sign = "≥" if aim.is_least else "≤"
            yield (
                f"| {aim.what} | {sign} {aim.limit} | {_shown(value)} |"
                f" {'met' if is_met else '**not met**'} |"
            )


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
