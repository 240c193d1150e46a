"""Drops and lives as lines, and one life's timeline. Pure."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Moment, Outcome
from tcptrace.lifecycle.life import STAGES
from tcptrace.sinks.terminal import CODES, Paint, process_text
from tcptrace.sinks.timeline import TimelinePrinter
from tcptrace.sinks.units import duration
from tcptrace.sinks.words import arrow, drop_text, end_words, remarks, troubles
from tcptrace.tcp import State
from tcptrace.top.cells import fit, fit_end, fit_right, plain
from tcptrace.wire.events import Kind, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.recent import Drop
    from tcptrace.sinks.units import WallClock
    from tcptrace.top.cells import Line
    from tcptrace.wire.events import Record

_TIME: Final = 8
_SPAN: Final = 6
_END: Final = 12
_ENDPOINT: Final = 21
_LISTENER: Final = 13
"""Of a listener's end as much as its port takes, and a little more."""
_WIDE: Final = 100
_LEAST_WHAT: Final = 20
_SLOW_NS: Final = 1_000_000_000
_CODE: Final = re.compile(r"(\x1b\[\d+m)")
_LOOKS: Final = {code: look for look, code in CODES.items()}


def moment_of(record: Record) -> Moment:
    """A record as a life would keep it."""
    return Moment(
        record.at_ns,
        Kind(record.kind),
        STAGES.get(record.stage, Stage.OTHER),
        record.accept_queue_len,
        record.accept_queue_limit,
        record.syn_queue_len,
        record.retransmits,
    )


@dataclass(frozen=True)
class DropLines:
    """Drops, the latest first.

    Attributes:
        drops: what to show.
        clock: tells the time of day.
        is_of_one: whether they are all of one listener, which goes without saying.
    """

    drops: Sequence[Drop]
    clock: WallClock
    is_of_one: bool = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self.drops)

    def heading(self, width: int) -> Line:
        """The columns' titles."""
        listener = "" if self.is_of_one else f"{fit('LISTENER', _listener_width(width))} "
        text = f"{fit('TIME', _TIME)} {listener}{fit('PEER', _ENDPOINT)} DROPPED"
        return [(fit(text, width), "title")]

    def line(self, index: int, width: int) -> Line:
        """One drop."""
        drop = self.drops[index]
        line: Line = [(self.clock.time_of_day(drop.record.at_ns)[:_TIME], "dim"), (" ", "")]
        if not self.is_of_one:
            line += [(fit_end(str(drop.listener.local), _listener_width(width)), ""), (" ", "")]
        line += [(fit_end(str(drop.peer), _ENDPOINT), ""), (" ", "")]
        room = width - sum(len(text) for text, _ in line)
        return [*line, (fit(drop_text(moment_of(drop.record)), max(0, room)), "bad")]

    def key(self, index: int) -> Drop:
        """The drop itself."""
        return self.drops[index]


def _listener_width(width: int) -> int:
    return _ENDPOINT if width >= _WIDE else _LISTENER


@dataclass(frozen=True)
class LifeLines:
    """Lives.

    Attributes:
        lives: in their order.
        clock: tells the time of day.
        now_ns: the source's time.
        is_of_one: whether they are all of one listener, whose end goes without saying.
    """

    lives: Sequence[Connection]
    clock: WallClock
    now_ns: int
    is_of_one: bool = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self.lives)

    def heading(self, width: int) -> Line:
        """The columns' titles."""
        title = "REMOTE" if self.is_of_one else "CONNECTION"
        ends = fit(title, self._ends_width(width))
        numbers = f"{fit_right('SETUP', _SPAN)} {fit_right('ACCEPT', _SPAN)}"
        if self.is_of_one:
            numbers = f"{numbers} {fit_right('OPEN', _SPAN)}"
        text = f"{fit('BEGAN', _TIME)} {ends} {numbers} {fit('STATE', _END)} WHAT WENT WRONG"
        return [(fit(text, width), "title")]

    def line(self, index: int, width: int) -> Line:
        """One life."""
        life = self.lives[index]
        began_ns = life.began_ns
        began = "before" if began_ns is None else self.clock.time_of_day(began_ns)[:_TIME]
        ends = str(life.remote)
        if not self.is_of_one:
            ends = f"{life.local} {arrow(life.role)} {life.remote}"
        line: Line = [(fit(began, _TIME), "dim"), (" ", "")]
        line += [(fit_end(ends, self._ends_width(width)), ""), (" ", "")]
        spans = [setup_ns(life), life.accept_wait_ns]
        if self.is_of_one:
            spans.append(_open_ns(life, self.now_ns))
        for number, span_ns in enumerate(spans):
            is_slow = span_ns is not None and span_ns >= _SLOW_NS and number < 2  # noqa: PLR2004
            line += [(fit_right(duration(span_ns), _SPAN), "bad" if is_slow else ""), (" ", "")]
        line += [*_state(life), (" ", "")]
        room = width - sum(len(text) for text, _ in line)
        what = plain(" · ".join([*troubles(life), *remarks(life, self.now_ns)]))
        return [*line, (fit(what, max(0, room)), "warn")]

    def key(self, index: int) -> int:
        """The life's id."""
        return self.lives[index].id

    def _ends_width(self, width: int) -> int:
        if self.is_of_one:
            return _ENDPOINT
        others = _TIME + 2 * _SPAN + _END + 5
        return max(_ENDPOINT, min(2 * _ENDPOINT + 3, width - others - _LEAST_WHAT))


def remarks_of(life: Connection, now_ns: int) -> list[tuple[str, str]]:
    """All that there is to say of a life besides its figures, with looks."""
    process = life.process or life.listening_process
    said = [(str(life.local), ""), (process_text(process) if process else "", "")]
    said += [(text, "warn") for text in troubles(life)]
    return said + [(text, "dim") for text in remarks(life, now_ns)]


def setup_ns(life: Connection) -> int | None:
    """How long it took to establish, or to fail."""
    if life.established_at_ns is not None:
        return life.handshake_ns
    gone_ns = life.gone_at_ns
    if life.syn_at_ns is None or gone_ns is None:
        return None
    return max(0, gone_ns - life.syn_at_ns)


def _open_ns(life: Connection, now_ns: int) -> int | None:
    if life.established_at_ns is None:
        return None
    gone_ns = life.gone_at_ns
    return max(0, (now_ns if gone_ns is None else gone_ns) - life.established_at_ns)


def _state(life: Connection) -> Line:
    """How it ended, or which state it is in."""
    if life.outcome is Outcome.OPEN and life.state is not None:
        look = "good" if life.state is State.ESTABLISHED else "warn"
        return [(fit(life.state.name, _END), look)]
    end = end_words(life)
    return [(fit(end.text, _END), end.colour)]


@dataclass(frozen=True)
class Text:
    """Some lines to read."""

    lines: Sequence[Line]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.lines)

    def heading(self, width: int) -> None:
        """None."""

    def line(self, index: int, width: int) -> Line:  # noqa: ARG002 - a list's
        """One of them."""
        return self.lines[index]

    def key(self, index: int) -> int:
        """Its number."""
        return index


class _LivePrinter(TimelinePrinter):
    """The trace goes on."""

    open_words = "still open"


def timeline(  # noqa: PLR0913, PLR0917 - all that it is shown with
    life: Connection,
    now_ns: int,
    clock: WallClock,
    names: Names,
    symbol: Callable[[int], str | None],
    width: int,
) -> list[Line]:
    """A life's story, by the same words as `--timeline`."""
    stream = io.StringIO()
    printer = _LivePrinter(stream, clock, Paint(enabled=True), width, symbol, names)
    printer.show(life, now_ns)
    return [looked(line) for line in stream.getvalue().rstrip().split("\n")]


def looked(text: str) -> Line:
    """Turns Paint's codes into looks."""
    line: Line = []
    look = ""
    for piece in _CODE.split(text):
        if piece.startswith("\x1b"):
            look = _LOOKS.get(piece, "")
        elif piece:
            line.append((plain(piece), look))
    return line
