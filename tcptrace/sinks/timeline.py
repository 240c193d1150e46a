"""Each life as a small indented story: states and how long they lasted, queues, what went wrong.

server 10.0.0.1:8080 ← 10.0.0.2:53412 · life 7 · 21:17:03.123 · web[1234]
  +0.000000s  ✗ SYN dropped: accept queue full 2/1
  +1.021123s  NEW_SYN_RECV  102µs
  +1.021225s  SYN_RECV       10µs
  +1.021235s  ESTABLISHED   3.17s
  +1.022235s  │ accepted by web[1234] after 1.0ms · accept queue 0/1
  +4.200000s  LAST_ACK      200µs
  +4.200200s  CLOSE         remote FIN · open 3.17s
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Connection, Outcome
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.story import STATE_WIDTH, story, with_reason
from tcptrace.sinks.terminal import flow, process_text, safe_text
from tcptrace.sinks.units import offset, plural
from tcptrace.sinks.whereabouts import places
from tcptrace.sinks.words import (
    aftermath,
    arrow,
    call_stack,
    end_words,
    remarks,
)
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from tcptrace.sinks.terminal import Paint
    from tcptrace.sinks.units import WallClock

_TIME_WIDTH: Final = 13
_DEFAULT_WIDTH: Final = 100
_STACK_INDENT: Final = " " * (_TIME_WIDTH + 4)


class TimelinePrinter:
    """Prints lives as stories, each when its full socket is gone.

    Args:
        stream: where to.
        clock: tells the time of day.
        paint: colours, or none.
        width: columns to wrap call stacks at; None for 100.
        symbol: names a kernel address given as its offset from _stext; None if it can't.
        names: of cgroups and network namespaces.
    """

    after_time_wait = False
    open_words = "still open: the trace ended"

    def __init__(  # noqa: PLR0913, PLR0917 - all that it shows with
        self,
        stream: TextIO,
        clock: WallClock,
        paint: Paint,
        width: int | None = None,
        symbol: Callable[[int], str | None] = lambda _offset: None,
        names: Names | None = None,
    ) -> None:
        self._names = names or Names()
        self._stream = stream
        self._clock = clock
        self._paint = paint
        self._width = width or _DEFAULT_WIDTH
        self._symbol = symbol

    def begin(self) -> None:
        """Prints nothing: each story has its own first line."""

    def flush(self) -> None:
        """Hands everything printed to the reader."""
        self._stream.flush()

    def show(self, connection: Connection, now_ns: int) -> None:
        """Prints one life and an empty line.

        Args:
            connection: its full socket is gone, or the trace has ended.
            now_ns: the source's time, CLOCK_MONOTONIC.
        """
        began_ns = connection.began_ns
        lines = story(connection)
        if began_ns is None:
            began_ns = lines[0].at_ns if lines else now_ns
        self._show_title(connection, began_ns)
        for unseen in _unknown_spans(connection):
            self._write(f"{'?':>{_TIME_WIDTH}}  {unseen}", "dim")
        for line in lines:
            text = self._paint(line.text, line.colour) if line.colour else line.text
            self._write(f"{offset(line.at_ns - began_ns):>{_TIME_WIDTH}}  {text}")
            self._show_stack(line.stack)
        self._show_last(connection, began_ns, now_ns)
        self._write("")

    def _show_title(self, connection: Connection, began_ns: int) -> None:
        pair = f"{connection.local} {arrow(connection.role)} {connection.remote}"
        peer = "" if connection.peer_id is None else f", other end {connection.peer_id}"
        process = connection.process or connection.listening_process
        pieces = [
            f"{connection.role} {pair}",
            f"life {connection.id}{peer}",
            self._clock.time_of_day(began_ns),
        ]
        if process is not None:
            pieces.append(process_text(process))
        workload = self._names.workload(connection.cgroup)
        pieces += places(connection.netns, workload, process, self._names)
        first, *more = flow(pieces, self._width)
        self._write(first, "strong")
        for line in more:
            self._write(f"    {line}", "strong")

    def _show_last(self, connection: Connection, began_ns: int, now_ns: int) -> None:
        """Prints how it stands at the end, where no state's line tells, and what is missing."""
        indent = " " * (_TIME_WIDTH + 2)
        if connection.moments_left_out:
            self._write(f"{indent}… and {plural(connection.moments_left_out, 'event')} more", "dim")
        if connection.outcome is Outcome.OPEN:
            self._write(f"{offset(now_ns - began_ns):>{_TIME_WIDTH}}  {self.open_words}")
        elif connection.state not in (State.CLOSE, State.TIME_WAIT):
            end = end_words(connection)
            at_ns = connection.gone_at_ns
            when = "" if at_ns is None else offset(at_ns - began_ns)
            text = self._paint(f"over: {with_reason(end.text, connection)}", end.colour)
            self._write(f"{when:>{_TIME_WIDTH}}  {text}")
        last = aftermath(connection) + remarks(connection, now_ns)
        for line in flow(last, self._width - len(indent)):
            if line:
                self._write(indent + line, "dim")

    def _show_stack(self, stack: tuple[int, ...]) -> None:
        if not stack:
            return
        names = [safe_text(name) for name in call_stack(stack, self._symbol)]
        pieces = [f"{name} ←" for name in names[:-1]] + names[-1:]
        for line in flow(pieces, self._width - len(_STACK_INDENT), " "):
            self._write(f"{_STACK_INDENT}{line}", "dim")

    def _write(self, text: str, colour: str | None = None) -> None:
        painted = self._paint(text, colour) if colour else text
        self._stream.write(f"{painted}\n")


def _unknown_spans(connection: Connection) -> list[str]:
    """Names the states whose begin wasn't seen."""
    return [
        f"{span.state.name:{STATE_WIDTH}} entered unseen"
        for span in connection.spans
        if span.at_ns is None
    ]
