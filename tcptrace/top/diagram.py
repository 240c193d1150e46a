"""TCP's states as a diagram: what is in each now, and how often one follows another. Pure.

Which transitions there are is in lifecycle.transitions; here is only where a state's box stands.
Transitions between boxes that stand side by side or below one another are drawn; those to CLOSE are
in their box's lower edge, connect()'s in SYN_SENT's upper one. The others are rare, and told in
words when they happen, as is what the tables do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.transitions import BORN_FROM, FIRST_CLOSER, NEXT
from tcptrace.tcp import State
from tcptrace.top.cells import fit, rate_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcptrace.top.cells import Line

S = State
Edge = tuple[State, State]

GRID: Final = (
    (S.LISTEN, S.NEW_SYN_RECV, S.SYN_RECV, S.SYN_SENT),
    (None, None, S.ESTABLISHED, None),
    (None, S.FIN_WAIT1, None, S.CLOSE_WAIT),
    (S.FIN_WAIT2, S.TIME_WAIT, S.CLOSING, S.LAST_ACK),
)
"""Where each state's box stands; all but CLOSE, in which nobody is."""
PLACES: Final = {
    state: (row, column)
    for row, states in enumerate(GRID)
    for column, state in enumerate(states)
    if state is not None
}
EDGES: Final[frozenset[Edge]] = frozenset(
    [(old, new) for old, following in NEXT.items() for new in following]
    + [(old, new) for new, old in BORN_FROM.items()]
)
"""Every transition that there is, births in a listener's name included."""
BENT: Final[Edge] = (S.SYN_SENT, S.ESTABLISHED)
"""Drawn around a corner."""

_BOX: Final = 17
_BOX_ROWS: Final = 3
_LEAST_GAP_ROWS: Final = 2
_MOST_GAP_ROWS: Final = 4
_MOST_GAP: Final = 14
LEAST_WIDTH: Final = 4 * _BOX + 3 * 4
LEAST_HEIGHT: Final = len(GRID) * _BOX_ROWS + (len(GRID) - 1) * _LEAST_GAP_ROWS
_LEGEND: Final = (
    "in a box: sockets now",
    "on an arrow: transitions a second",
    "+ connect()  ✕ to CLOSE, a second",
)
_ARMS: Final = {
    frozenset("ud"): "│",
    frozenset("lr"): "─",
    frozenset("ur"): "└",
    frozenset("ul"): "┘",
    frozenset("dr"): "┌",
    frozenset("dl"): "┐",
    frozenset("udr"): "├",
    frozenset("udl"): "┤",
    frozenset("dlr"): "┬",
    frozenset("ulr"): "┴",
    frozenset("udlr"): "┼",
}


def is_beside(edge: Edge) -> bool:
    """Whether the boxes are neighbours in a row."""
    (row, column), (to_row, to_column) = PLACES[edge[0]], PLACES[edge[1]]
    return row == to_row and abs(column - to_column) == 1


def is_below(edge: Edge) -> bool:
    """Whether the second box is in the next row, where a line from the first can fork to it."""
    return PLACES[edge[1]][0] == PLACES[edge[0]][0] + 1


def is_drawn(edge: Edge) -> bool:
    """Whether a transition is a line in the diagram."""
    if S.CLOSE in edge:
        return False
    return is_beside(edge) or edge == BENT or is_below(edge)


class Traffic(NamedTuple):
    """What the diagram shows.

    Attributes:
        counts: sockets now, by state.
        totals: transitions since the trace began.
        rates: the same a second.
    """

    counts: Mapping[State, int]
    totals: Mapping[Edge, int]
    rates: Mapping[Edge, float]

    def rate(self, edge: Edge) -> float:
        """How often a second."""
        return self.rates.get(edge, 0.0)


def fits(width: int, height: int) -> bool:
    """Whether there is room for the diagram."""
    return width >= LEAST_WIDTH and height >= LEAST_HEIGHT


def draw(traffic: Traffic, width: int, height: int = LEAST_HEIGHT) -> list[Line]:
    """Returns the diagram's lines, at most `height`.

    Args:
        traffic: what it shows.
        width: columns; at least LEAST_WIDTH.
        height: rows; at least LEAST_HEIGHT.
    """
    canvas = _Canvas(width, height)
    drawn = sorted(edge for edge in EDGES if is_drawn(edge))
    for edge in drawn:
        if is_beside(edge):
            canvas.join_beside(edge, traffic.rate(edge))
        elif edge == BENT:
            canvas.join_bent(edge, traffic.rate(edge))
    for old in PLACES:
        below = [edge for edge in drawn if edge[0] is old and is_below(edge) and edge != BENT]
        if below:
            canvas.fork(old, {edge[1]: traffic.rate(edge) for edge in below})
    for state in PLACES:
        canvas.box(state, traffic)
    canvas.legend(_LEGEND)
    return canvas.lines()


class _Canvas:
    """Characters with looks, and lines that join where they meet."""

    def __init__(self, width: int, height: int) -> None:
        spare = (height - len(GRID) * _BOX_ROWS) // (len(GRID) - 1)
        self._gap_rows = min(_MOST_GAP_ROWS, spare)
        rows = len(GRID) * _BOX_ROWS + (len(GRID) - 1) * self._gap_rows
        self._gap = min(_MOST_GAP, (width - 4 * _BOX) // 3)
        self._left = (width - 4 * _BOX - 3 * self._gap) // 2
        self._cells: list[list[tuple[str, str]]] = [[(" ", "")] * width for _ in range(rows)]
        self._arms: dict[tuple[int, int], tuple[set[str], bool]] = {}

    def _corner(self, state: State) -> tuple[int, int]:
        row, column = PLACES[state]
        return self._left + column * (_BOX + self._gap), row * (_BOX_ROWS + self._gap_rows)

    def _write(self, x: int, y: int, text: str, look: str) -> None:
        for offset, char in enumerate(text):
            self._cells[y][x + offset] = (char, look)

    def _arm(self, x: int, y: int, arms: str, *, is_busy: bool) -> None:
        known, was_busy = self._arms.get((x, y), (set(), False))
        self._arms[x, y] = known | set(arms), was_busy or is_busy

    def _across(self, begin: int, end: int, y: int, *, is_busy: bool) -> None:
        """A line from one column to another, both included."""
        first, last = sorted((begin, end))
        for x in range(first, last + 1):
            arms = ("l" if x > first else "") + ("r" if x < last else "")
            self._arm(x, y, arms, is_busy=is_busy)

    def box(self, state: State, traffic: Traffic) -> None:
        """A state: its name, how many are in it, how often one begins or ends there."""
        x, y = self._corner(state)
        count = traffic.counts.get(state, 0)
        look = "strong" if count else "dim"
        inner = _BOX - 2
        name = f" {state.name} "
        born = traffic.rate((S.CLOSE, state))
        begin = f" +{rate_text(born)} " if born else ""
        gone = traffic.rate((state, S.CLOSE))
        end = f" ✕ {rate_text(gone)} " if gone else ""
        self._write(x, y, f"┌{name}{'─' * (inner - len(name))}┐", "dim")
        self._write(x + 1, y, name, look)
        self._write(x, y + 1, f"│{fit(f' {count:,}', inner)}│", "dim")
        self._write(x + 1, y + 1, fit(f" {count:,}", inner), look)
        if begin:
            self._write(x + _BOX - 1 - len(begin), y + 1, begin, "good")
        self._write(x, y + 2, f"└{'─' * (inner - len(end))}{end}┘", "dim")
        if end:
            self._write(x + _BOX - 1 - len(end), y + 2, end, "warn")

    def join_beside(self, edge: Edge, rate: float) -> None:
        """An arrow to the box beside, its rate above it."""
        (x, y), (to_x, _) = self._corner(edge[0]), self._corner(edge[1])
        look = "good" if rate else "dim"
        left = min(x, to_x) + _BOX
        line = "─" * (self._gap - 1)
        self._write(left, y + 1, f"{line}▶" if to_x > x else f"◀{line}", look)
        self._write(left, y, rate_text(rate).center(self._gap), look)

    def join_bent(self, edge: Edge, rate: float) -> None:
        """From a box's lower edge down, and to the side of one in a row below."""
        (x, y), (to_x, to_y) = self._corner(edge[0]), self._corner(edge[1])
        begin, row, end = x + _BOX // 2, to_y + 1, to_x + _BOX
        self._arm(begin, row, "u", is_busy=bool(rate))
        for one in range(y + _BOX_ROWS, row):
            self._arm(begin, one, "ud", is_busy=bool(rate))
        self._across(begin, end, row, is_busy=bool(rate))
        look = "good" if rate else "dim"
        self._cells[row][end] = ("◀", look)
        self._write(begin + 2, row - 1, rate_text(rate), look)

    def fork(self, old: State, rates: Mapping[State, float]) -> None:
        """From a box's lower edge to each of some boxes in the next row, the rate at each."""
        x, y = self._corner(old)
        middle, row, end = x + _BOX // 2, y + _BOX_ROWS, y + _BOX_ROWS + self._gap_rows - 1
        any_busy = any(rates.values())
        self._arm(middle, row, "u", is_busy=any_busy)
        for new, rate in rates.items():
            target = self._corner(new)[0] + _BOX // 2
            look = "good" if rate else "dim"
            if target != middle:
                self._across(middle, target, row, is_busy=bool(rate))
            self._arm(target, row, "d", is_busy=bool(rate))
            for one in range(row + 1, end):
                self._arm(target, one, "ud", is_busy=bool(rate))
            self._write(target, end, "▼", look)
            self._write(target + 2, end, rate_text(rate), look)
            closer = FIRST_CLOSER.get((old, new))
            if closer is not None and old is S.ESTABLISHED:
                text = f"{closer} FIN"
                self._write(target - len(text) - 1, end, text, "dim")

    def legend(self, texts: Iterable[str]) -> None:
        """Words where no box stands: left of ESTABLISHED."""
        for row, text in enumerate(texts):
            self._write(self._left + 1, _BOX_ROWS + 1 + row, text, "dim")

    def lines(self) -> list[Line]:
        """Everything, as lines."""
        for (x, y), (arms, is_busy) in self._arms.items():
            if self._cells[y][x][0] == " ":
                self._cells[y][x] = (_ARMS.get(frozenset(arms), "·"), "good" if is_busy else "dim")
        return [_joined(row) for row in self._cells]


def _joined(row: Iterable[tuple[str, str]]) -> Line:
    """Pieces from characters."""
    line: Line = []
    for char, look in row:
        if line and line[-1][1] == look:
            line[-1] = (line[-1][0] + char, look)
        else:
            line.append((char, look))
    return line


def rare(traffic: Traffic) -> Iterator[tuple[Edge, int, float, bool]]:
    """Transitions that happened and are not in the diagram.

    Yields:
        Which, how often, how often a second, and whether the tables have it.
    """
    for edge, total in traffic.totals.items():
        is_shown = is_drawn(edge) if S.CLOSE not in edge else _is_in_a_box(edge)
        if total and not is_shown:
            yield edge, total, traffic.rate(edge), edge in EDGES


def _is_in_a_box(edge: Edge) -> bool:
    return edge in EDGES
