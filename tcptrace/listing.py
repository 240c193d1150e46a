"""Shows a watched host's listeners, once or again and again."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from tcptrace.lifecycle.overview import Overview
from tcptrace.notes import Troubles, note, output_errors
from tcptrace.sinks.agreement import standing
from tcptrace.sinks.listeners import as_json, render, selected
from tcptrace.sinks.terminal import Paint, safe_text, width_of
from tcptrace.sinks.units import WallClock, plural
from tcptrace.stopping import Stop

if TYPE_CHECKING:
    from tcptrace.lifecycle.overview import Row
    from tcptrace.stopping import Limits
    from tcptrace.watching import Watch

_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K\n"
_CLEAR_BELOW: Final = "\x1b[J"
# What is too wide for the terminal is cut, so that a line stays a line.
_BEGIN: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_END: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"


@dataclass(frozen=True)
class Listing:
    """What to show, and how."""

    stream: TextIO
    what: str | None
    """A port, an address or part of a process's name; None for all."""
    sort: str
    interval_s: float
    once: bool
    as_json: bool


def show(watch: Watch, listing: Listing, limits: Limits, notes: TextIO, opening: str) -> None:
    """Shows listeners until a limit or a signal.

    Args:
        watch: of a source with a ledger; its source is closed at the end.
        listing: what to show.
        limits: when to end by itself.
        notes: where the opening line goes: stderr.
        opening: said once tracing has begun.

    Raises:
        OutputFailed: the stream takes no more.
    """
    stop = Stop(limits)
    screen = _Screen(watch, listing, stop, notes)
    try:
        with stop.on_signals():
            note(notes, opening)
            with output_errors():
                screen.begin()
            watch.run(stop, screen.tick)
    finally:
        with output_errors():
            screen.end()
        watch.source.close()


class _Screen:
    """Draws the rows whenever they are due."""

    def __init__(self, watch: Watch, listing: Listing, stop: Stop, notes: TextIO) -> None:
        self._watch = watch
        self._listing = listing
        self._stop = stop
        self._overview = Overview()
        self._clock = WallClock(watch.source.head)
        self._paint = Paint.of(listing.stream)
        is_terminal = listing.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._refreshes = is_terminal and not (listing.once or listing.as_json)
        self._next_s = time.monotonic() + listing.interval_s
        self._has_looked = False
        self._troubles = Troubles(watch.source, notes)

    def begin(self) -> None:
        if self._refreshes:
            self._write(_BEGIN)

    def end(self) -> None:
        if self._refreshes:
            self._write(_END)

    def tick(self) -> None:
        if self._watch.reading is None:
            return
        if not self._has_looked:
            self._look()
            self._has_looked = True
        if not self._refreshes:  # a line in between would spoil the screen: the table tells
            self._troubles.tell()
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = max(self._next_s + self._listing.interval_s, now_s)
        self._watch.read_ledger()
        rows = selected(self._look(), self._listing.what, self._listing.sort)
        with output_errors():
            self._show(rows)
        self._stop.asked |= self._listing.once

    def _look(self) -> list[Row]:
        watch = self._watch
        with watch.lock:
            return self._overview.look(watch.ledger, watch.tally.waits, watch.source.now_ns())

    def _show(self, rows: list[Row]) -> None:
        now_ns = self._watch.source.now_ns()
        names = self._watch.source.names
        if self._listing.as_json:
            at = self._clock.utc(now_ns)
            self._write("".join(f"{as_json(row, at, names)}\n" for row in rows))
            return
        told = [plural(len(rows), "listener"), self._clock.time_of_day(now_ns)[:8]]
        losses = self._watch.source.losses()
        told += standing(self._watch.agreement.findings(losses), losses)
        if self._refreshes and self._watch.source.trouble:
            told.append(safe_text(self._watch.source.trouble))
        width = width_of(self._listing.stream)
        table = render(rows, self._paint, names, note=told, width=width)
        if not self._refreshes:
            self._write(f"{table}\n" if self._listing.once else f"{table}\n\n")
            return
        lines = table.splitlines()
        rows_there = os.get_terminal_size(self._listing.stream.fileno()).lines
        if rows_there:  # a serial console's are unknown: 0
            lines = lines[: max(1, rows_there - 1)]
        self._write(_HOME + "".join(line + _CLEAR_LINE for line in lines) + _CLEAR_BELOW)

    def _write(self, text: str) -> None:
        self._listing.stream.write(text)
        self._listing.stream.flush()
