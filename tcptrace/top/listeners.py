"""Listeners as lines: queues as bars, their last 15 minutes as sparklines. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.ledger import OTHER_ADDRESS
from tcptrace.sinks.listeners import title_of, where_of
from tcptrace.sinks.terminal import process_text
from tcptrace.sinks.units import duration, short
from tcptrace.top import cells
from tcptrace.top.cells import fit, fit_end, fit_right, plain, rate_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcptrace.lifecycle.ledger import Address
    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.overview import Row
    from tcptrace.top.cells import Line


class Queues(NamedTuple):
    """A listener's two queues, its sockets added up."""

    accept_len: int
    accept_limit: int
    accept_peak: int
    syn_len: int
    syn_limit: int
    syn_peak: int
    sockets: int

    @property
    def accept_room(self) -> int:
        """How many connections fit in: one more than the limit for each socket."""
        return self.accept_limit + self.sockets

    @property
    def syn_room(self) -> int:
        """The same of the SYN queue."""
        return self.syn_limit + self.sockets


def queues_of(row: Row) -> Queues:
    """Adds up a listener's open sockets."""
    members = list(row.listening.members.values())
    slots = [member.slot for member in members]
    return Queues(
        sum(slot.accept_queue_len for slot in slots),
        sum(slot.accept_queue_limit for slot in slots),
        sum(member.accept_queue_peak for member in members),
        sum(slot.syn_queue_len for slot in slots),
        sum(member.syn_queue_limit for member in members),
        sum(member.syn_queue_peak for member in members),
        len(members),
    )


def owner_of(row: Row) -> str:
    """Whose it is, as a word: `nginx[1234]`, `3 sockets`, `closed`."""
    listening = row.listening
    if len(listening.members) > 1:
        return f"{len(listening.members)} sockets"
    if not listening.is_open and listening.address.address != OTHER_ADDRESS:
        return "closed"
    return plain(process_text(listening.owner)) if listening.owner else "-"


def look_of(row: Row) -> str:
    """How bad it is: it drops now, it has dropped or was nearly full, neither."""
    if row.drop_rate:
        return "bad"
    if row.drop_count or row.accept_queue_fill >= cells.NEARLY_FULL:
        return "warn"
    return ""


class Seen(NamedTuple):
    """All that the columns show of a row; of the row itself what does not change."""

    name: str
    owner: str
    look: str
    queues: Queues
    past: Sequence[float | None]
    row: Row
    where: str


class _Column(NamedTuple):
    title: str
    width: int
    cell: Callable[[Seen, int], Line]


def _name(seen: Seen, width: int) -> Line:
    text = seen.name
    address = text.partition("@")[0]
    # Of both the port must be seen: a namespace is cut at its end, an address at its begin.
    cut = fit_end(address, width) if len(address) > width else fit(text, width)
    return [(cut, seen.look)]


def _owner(seen: Seen, width: int) -> Line:
    return [(fit(seen.owner, width), "")]


def _accept_bar(seen: Seen, width: int) -> Line:
    queues = seen.queues
    if not queues.sockets:
        return [(" " * width, "")]
    room = queues.accept_room
    return cells.bar(queues.accept_len / room, queues.accept_peak / room, width)


def _accept(seen: Seen, width: int) -> Line:
    queues = seen.queues
    text = f"{short(queues.accept_len)}/{short(queues.accept_limit)}" if queues.sockets else "-"
    return [(fit_right(text, width), "")]


def _past(seen: Seen, width: int) -> Line:
    return cells.sparkline(seen.past, width)


def _syn(seen: Seen, width: int) -> Line:
    queues = seen.queues
    text = f"{short(queues.syn_len)}/{short(queues.syn_limit)}" if queues.sockets else "-"
    look = cells.look_of(queues.syn_peak / queues.syn_room) if queues.sockets else ""
    return [(fit_right(text, width), "" if look == "good" else look)]


def _drop_rate(seen: Seen, width: int) -> Line:
    rate = seen.row.drop_rate
    return [(fit_right(rate_text(rate), width), "bad" if rate else "dim")]


def _drops(seen: Seen, width: int) -> Line:
    count = seen.row.drop_count
    return [(fit_right(short(count) if count else "-", width), "warn" if count else "dim")]


def _accept_rate(seen: Seen, width: int) -> Line:
    rate = seen.row.accept_rate
    return [(fit_right(rate_text(rate), width), "" if rate else "dim")]


def _wait(seen: Seen, width: int) -> Line:
    wait_ns = seen.row.accept_wait_p99_ns
    return [(fit_right(duration(wait_ns), width), "" if wait_ns else "dim")]


def _where(seen: Seen, width: int) -> Line:
    return [(fit(seen.where, width), "dim")]


_COLUMNS: Final = {
    "name": _Column("LISTENER", 15, _name),
    "owner": _Column("OWNER", 12, _owner),
    "bar": _Column("ACCEPT Q", 8, _accept_bar),
    "accept": _Column("now/limit", 9, _accept),
    "past": _Column("PAST {}", 8, _past),
    "syn": _Column("SYN Q", 8, _syn),
    "drop_rate": _Column("DROP/s", 6, _drop_rate),
    "drops": _Column("DROPS", 5, _drops),
    "accept_rate": _Column("ACC/s", 6, _accept_rate),
    "wait": _Column("p99", 5, _wait),
    "where": _Column("WHERE", 14, _where),
}
"""In the order in which they stand."""
_NUMBERS: Final = ("accept", "syn", "drop_rate", "drops", "accept_rate", "wait")
_LOOKED_AT: Final = 200
"""Of how many rows, the first ones, it is asked whether anything is known of where they are."""
_IMPORTANCE: Final = (
    *("name", "accept", "drop_rate", "bar", "owner", "past", "syn"),
    *("accept_rate", "wait", "drops", "where"),
)
_GROWTH: Final = (
    ("name", 22),
    ("past", 14),
    ("owner", 18),
    ("past", 30),
    ("bar", 16),
    ("where", 30),
    ("name", 47),
    ("past", 90),
)
"""What grows to which width if there is room for more."""


@cache
def layout(width: int, *, has_places: bool) -> list[tuple[_Column, bool]]:
    """Which columns fit, each as wide as it may be, and whether it holds numbers.

    Args:
        width: columns of the terminal.
        has_places: whether anything is known of where the listeners are.
    """
    chosen: dict[str, int] = {}
    left = width + 1
    for name in _IMPORTANCE[: None if has_places else -1]:
        if _COLUMNS[name].width + 1 > left:
            break
        chosen[name] = _COLUMNS[name].width
        left -= chosen[name] + 1
    for name, most in _GROWTH:
        if name in chosen:
            more = max(0, min(left, most - chosen[name]))
            chosen[name] += more
            left -= more
    return [
        (column._replace(width=chosen[name]), name in _NUMBERS)
        for name, column in _COLUMNS.items()
        if name in chosen
    ]


def _minutes(span_ns: int) -> str:
    seconds = span_ns // 10**9
    return f"{seconds}s" if seconds < 60 else f"{seconds // 60}m"  # noqa: PLR2004 - a minute


class ListenerLines:
    """What the list of listeners shows; of what is not visible no line is made.

    Args:
        rows: in their order.
        names: of namespaces and cgroups.
        fills_of: how full a listener's accept queue was, from the oldest to the newest.
        span_ns: how far back those go.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        names: Names,
        fills_of: Callable[[Address], Sequence[float | None]],
        span_ns: int,
    ) -> None:
        self._span = _minutes(span_ns)
        self.rows = rows
        self._names = names
        self._fills_of = fills_of
        self._seen: dict[int, Seen] = {}
        self._has_places = any(where_of(row, names) for row in rows[:_LOOKED_AT])

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows)

    def keep(self) -> None:
        """Has every line stay as it is now: rows tell of what changes."""
        for index in range(len(self.rows)):
            self._see(index)

    def heading(self, width: int) -> Line:
        """The columns' titles."""
        titles = [
            (fit_right if is_number else fit)(column.title.format(self._span), column.width)
            for column, is_number in layout(width, has_places=self._has_places)
        ]
        return [(fit(" ".join(titles), width), "title")]

    def line(self, index: int, width: int) -> Line:
        """One listener."""
        seen = self._see(index)
        line: Line = []
        for column, _ in layout(width, has_places=self._has_places):
            if line:
                line.append((" ", ""))
            line += column.cell(seen, column.width)
        return line

    def key(self, index: int) -> Address:
        """Its address."""
        return self.rows[index].listening.address

    def _see(self, index: int) -> Seen:
        seen = self._seen.get(index)
        if seen is None:
            row = self.rows[index]
            seen = self._seen[index] = Seen(
                plain(title_of(row.listening.address, self._names)),
                owner_of(row),
                look_of(row),
                queues_of(row),
                self._fills_of(row.listening.address),
                row,
                plain(where_of(row, self._names)),
            )
        return seen
