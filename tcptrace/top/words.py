"""What stands around the lists: tabs, keys, a listener's head; and the states. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.sinks.listeners import title_of, told_of, where_of
from tcptrace.sinks.terminal import flow
from tcptrace.sinks.units import duration
from tcptrace.sinks.verdicts import headline
from tcptrace.tcp import State
from tcptrace.top import cells, diagram
from tcptrace.top.cells import fit, plain, rate_text, width_of
from tcptrace.top.listeners import owner_of, queues_of
from tcptrace.verdicts.verdict import Confidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.overview import Row
    from tcptrace.top.cells import Line
    from tcptrace.top.diagram import Traffic
    from tcptrace.verdicts.verdict import Verdict

Keys = tuple[tuple[str, str], ...]
VIEWS: Final = ("Listeners", "States", "Slow", "Drops", "Verdicts")
"""By their keys, 1 to 5."""
HELP: Final = """\
WHAT IS SHOWN
  ACCEPT Q   connections waiting for accept(): now, and (lighter) the peak of the last minute, as a
             share of what fits in; red is full. now/limit: full when now exceeds limit
  PAST       how full it was, up to 15 minutes back; the newest on the right
  SYN Q      half-open requests, now/limit
  DROP/s     SYNs, final ACKs and requests that the listener refuses, a second; DROPS: in all
  ACC/s, p99 how often accept() takes one, and the longest wait of 99 in 100 of them
  SETUP      from the first SYN to ESTABLISHED, or to the failure; ACCEPT: in the accept queue

KEYS
  1 2 3 4 5  listeners, states, slow and failed connections, drops, verdicts
  ↑ ↓ PgUp PgDn Home End    move     Tab  to the other list     Enter  open: a listener,
             then one of its connections, then its timeline     Esc    back
  /          filter by a part of an address, port or process; Enter keeps it, Esc drops it
  s          sort listeners by drops, accept queue, SYN queue, accept rate, port
  p          pause what is shown; tracing goes on
  q          quit (Ctrl-C too)\
"""
_GAP: Final = "  "


def tabs(active: int, clock: str, width: int) -> Line:
    """The first line: the views, and the time on the right."""
    is_short = width < 80  # noqa: PLR2004 - the usual terminal's columns
    line: Line = [("tcptrace top" if width >= 60 else "top", "strong")]  # noqa: PLR2004
    for number, name in enumerate(VIEWS):
        is_active = number == active
        text = f" {number + 1} {name} " if is_active or not is_short else f" {number + 1} "
        line += [(" ", ""), (text, "mark" if is_active else "")]
    room = width - width_of(line) - len(clock)
    if room > 0:
        line += [(" " * room, ""), (clock, "dim")]
    return line


def told(pieces: Iterable[tuple[str, str]], width: int) -> Line:
    """Pieces with looks in one line, as many as fit."""
    line: Line = []
    left = width
    for text, look in pieces:
        separator = " · " if line else ""
        if not text or left < len(separator) + 4:
            continue
        if separator:
            line.append((separator, "dim"))
        cut = plain(text)
        room = left - len(separator)
        line.append((cut if width_of([(cut, "")]) <= room else fit(cut, room), look))
        left = width - width_of(line)
    return line


def verdict_line(verdict: Verdict, names: Names, width: int) -> Line:
    """A verdict's headline."""
    look = "bad" if verdict.confidence is Confidence.CERTAIN else "warn"
    return told([(f"✗ {headline(verdict, names)}", look)], width)


def keys_line(keys: Keys, width: int) -> Line:
    """The last line: which key does what, as many as fit; the last two always."""
    line: Line = []
    last = keys[-2:]
    room = width - sum(len(key) + len(name) + 3 for key, name in last)
    for key, name in keys[:-2]:
        if width_of(line) + len(key) + len(name) + 3 <= room:
            line += _key(key, name)
    for key, name in last:
        line += _key(key, name)
    return line


def _key(key: str, name: str) -> Line:
    return [(key, "key"), (f" {name}{_GAP}", "")]


def head_of(
    row: Row, names: Names, fills: Sequence[float | None], span_ns: int, width: int
) -> list[Line]:
    """A listener's head: whose it is, both queues, what it drops.

    Args:
        row: the listener.
        names: of namespaces and cgroups.
        fills: how full its accept queue was, the oldest first.
        span_ns: how far back those go.
        width: columns.
    """
    queues = queues_of(row)
    bar = max(8, min(30, width - 50))
    who = [
        (title_of(row.listening.address, names), "strong"),
        (owner_of(row), ""),
        (where_of(row, names), "dim"),
    ]
    lines = [told(who, width)]
    if queues.sockets:
        full = "full" if queues.accept_len > queues.accept_limit else ""
        accept = f"{queues.accept_len}/{queues.accept_limit}, peak {queues.accept_peak}"
        wait = duration(row.accept_wait_p99_ns)
        often = rate_text(row.accept_rate) if row.accept_rate else "0"
        rate = f"{often} accepts/s, p99 {wait}"
        room = queues.accept_room
        lines.append(
            [
                ("accept queue ", "dim"),
                *cells.bar(queues.accept_len / room, queues.accept_peak / room, bar),
                (" ", ""),
                *told([(accept, ""), (rate, ""), (full, "bad")], width - bar - 14),
            ]
        )
        if fills:
            past = max(8, width - 13)
            lines.append(
                [(f"{f'past {duration(span_ns)}':>12} ", "dim"), *cells.sparkline(fills, past)]
            )
        room = queues.syn_room
        syn = f"{queues.syn_len}/{queues.syn_limit}, peak {queues.syn_peak}"
        lines.append(
            [
                ("   SYN queue ", "dim"),
                *cells.bar(queues.syn_len / room, queues.syn_peak / room, bar),
                (f" {syn}", ""),
            ]
        )
    drops = told_of(row) or ["no drops"]
    look = "bad" if row.drop_rate else "warn" if row.drop_count else "dim"
    label = "drops"
    for text in _flowed(drops, width):
        lines.append([(f"{label:>12} ", "dim"), (fit(text, max(1, width - 13)), look)])
        label = ""
    return lines


def _flowed(pieces: list[str], width: int) -> list[str]:
    return flow(pieces, max(1, width - 13))


def summary_of(row: Row, names: Names, width: int) -> Line:
    """One line on a listener: what it drops, and where it is."""
    drops = [(text, look_of(row)) for text in told_of(row)]
    name = (title_of(row.listening.address, names), "strong")
    return told([name, *(drops or [("no drops", "dim")]), (where_of(row, names), "dim")], width)


def look_of(row: Row) -> str:
    """Red while it drops."""
    return "bad" if row.drop_rate else "warn"


def states(traffic: Traffic, width: int, height: int) -> list[Line]:
    """The state diagram, or a table where there is no room for it."""
    if not diagram.fits(width, height):
        return _states_table(traffic, width)
    lines = diagram.draw(traffic, width, height - 1)
    rare = list(diagram.rare(traffic))
    if rare:
        pieces = [
            (
                f"{old.name} → {new.name} {total:,}" + ("" if is_known else " (not in the tables)"),
                "",
            )
            for (old, new), total, _, is_known in sorted(rare, key=lambda one: -one[1])
        ]
        lines.append(told([("rare", "dim"), *pieces], width))
    return lines


def _states_table(traffic: Traffic, width: int) -> list[Line]:
    """A line a state: how many, how many come and go a second."""
    into: dict[State, float] = {}
    out: dict[State, float] = {}
    for (old, new), rate in traffic.rates.items():
        out[old] = out.get(old, 0.0) + rate
        into[new] = into.get(new, 0.0) + rate
    title = f"{'STATE':13}{'NOW':>9}{'IN/s':>8}{'OUT/s':>8}"
    lines: list[Line] = [[(fit(title, min(width, 40)), "title")]]
    for state in diagram.PLACES:
        count = traffic.counts.get(state, 0)
        # A listener stays what it is when it gives birth to a request.
        leaves = (
            traffic.rate((state, State.CLOSE)) if state is State.LISTEN else out.get(state, 0.0)
        )
        rates = f"{rate_text(into.get(state, 0.0)):>8}{rate_text(leaves):>8}"
        lines.append([(f"{state.name:13}{count:>9,}", "strong" if count else "dim"), (rates, "")])
    return lines
