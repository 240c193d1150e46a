"""Puts a trace together: a source of records, the tracker, a printer, the summary.

The only place that knows them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from tcptrace.errors import BadRecording
from tcptrace.lifecycle.connection import Role
from tcptrace.lifecycle.ledger import Ledger
from tcptrace.lifecycle.summary import Summary
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.notes import Troubles, last_output, note, output_errors
from tcptrace.reading import Losing, batches
from tcptrace.sinks.summary import TraceFacts, render_summary
from tcptrace.sinks.terminal import Paint, width_of
from tcptrace.sinks.verdicts import render as render_verdicts
from tcptrace.stopping import Limits, Stop
from tcptrace.verdicts.inquest import Inquest
from tcptrace.verdicts.window import WHOLE_NS, Plain, Totals
from tcptrace.wire.decode import decode_batch, decode_stacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.reading import Source
    from tcptrace.verdicts.inquest import Looked
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.wire.head import TraceHead
    from tcptrace.wire.ledger import LedgerReading


class Printer(Protocol):
    """What shows lives."""

    after_time_wait: bool
    """Whether it wants a life only when TIME_WAIT is over too."""

    def begin(self) -> None:
        """Prints what comes before the first life."""

    def show(self, connection: Connection, now_ns: int) -> None:
        """Prints one life."""

    def flush(self) -> None:
        """Hands everything printed to the reader."""


@runtime_checkable
class Feeder(Protocol):
    """What hands records to the tracker; without their call stacks, if it is a printer."""

    def follow(self, tracker: Tracker, summary: Summary) -> None:
        """Begins: the tracker is to be fed; lives that it is not told of are added to the sum."""

    def feed(self, batch: bytes, now_ns: int) -> None:
        """Takes records, none perhaps, now or later.

        Args:
            batch: whole records end to end.
            now_ns: a time whose records have all been read.
        """

    def catch_up(self, now_ns: int) -> None:
        """Has the tracker told of all that was read."""


class Stepwise:
    """Feeds the tracker record by record, at once."""

    def __init__(self, *, stacks: bool) -> None:
        self._stacks = stacks

    def follow(self, tracker: Tracker, _summary: Summary) -> None:
        """Begins."""
        self._tracker = tracker

    def feed(self, batch: bytes, now_ns: int) -> None:
        """Takes records."""
        if batch and self._stacks:
            self._tracker.feed_stacked(decode_stacked(batch))
        elif batch:
            self._tracker.feed(decode_batch(batch))
        self._tracker.advance(now_ns)

    def catch_up(self, now_ns: int) -> None:
        """There is nothing to catch up with."""


class Evidence:
    """What a trace of lives finds for verdicts: the lives, and a recording's ledger.

    Args:
        head: of the source.

    Attributes:
        ledger: of nothing if there is none.
        on_reading: called with each of its readings, once it has absorbed it.
    """

    def __init__(self, head: TraceHead) -> None:
        self.ledger = Ledger()
        self.on_reading: list[Callable[[LedgerReading], None]] = []
        self._reading: LedgerReading | None = None
        self._inquest = Inquest(self.ledger, head.began_monotonic_ns, WHOLE_NS)
        self._is_over = False

    def closed(self, connection: Connection) -> None:
        """Takes a life whose full socket is gone; those cut off by the end were looked at."""
        if not self._is_over:
            self._inquest.closed(connection)

    def look(self, source: Source) -> None:
        """Takes the source's next reading of the ledger, if there is one."""
        reading = source.ledger_reading()
        if reading is not None and reading is not self._reading:
            self._reading = reading
            self.ledger.absorb(reading)
            self._inquest.read(reading)
            for tell in self.on_reading:
                tell(reading)

    def verdicts(self, tracker: Tracker, summary: Summary, now_ns: int) -> list[Verdict]:
        """What is wrong; the end, before the tracker's."""
        self._is_over = True
        return self._inquest.verdicts(tracker, now_ns, _totals(summary))

    @property
    def looked(self) -> Looked:
        """What the verdicts are based on."""
        return self._inquest.looked


def _totals(summary: Summary) -> Totals:
    """Of all connections: a Feeder tells the tracker of few of them."""
    waits = summary.accept_wait
    lives = summary.handshakes[Role.SERVER].count
    came_in = Plain(lives, waits.count, waits.count * (waits.mean or 0))
    return Totals(came_in, summary.outcomes[Role.CLIENT].total())


class _Show:
    """Passes lives from the tracker to the printer and the summary, up to the limit."""

    def __init__(self, source: Source, printer: Printer, count: int | None, stop: Stop) -> None:
        self.summary = Summary()
        self.evidence = Evidence(source.head)
        self._source = source
        self._printer = printer
        self._left = count
        self._stop = stop

    def closed(self, connection: Connection) -> None:
        self.summary.add(connection)
        self.evidence.closed(connection)
        if not self._printer.after_time_wait:
            self._show(connection)

    def ended(self, connection: Connection) -> None:
        if self._printer.after_time_wait:
            self._show(connection)

    def _show(self, connection: Connection) -> None:
        if self._left == 0:
            return
        with output_errors():
            self._printer.show(connection, self._source.now_ns())
        if self._left is not None:
            self._left -= 1
            self._stop.asked |= self._left == 0


def run(
    source: Source,
    printer: Printer,
    limits: Limits,
    notes: TextIO,
    opening: str,
) -> Summary:
    """Shows every life that the source tells of, until it ends, a limit or a signal; then the sum.

    Args:
        source: closed in any case.
        printer: shows the lives; a Feeder also feeds the tracker.
        limits: when to end by itself.
        notes: where the summary goes: stderr.
        opening: the line for `notes` once a signal would end the trace tidily.

    Raises:
        OutputFailed: the printer's stream takes no more.
        BrokenPipeError: its reader has gone.
        BadRecording: the source is damaged; what it gave before has been shown and summed up.
    """
    stop = Stop(limits)
    show = _Show(source, printer, limits.count, stop)
    tracker = Tracker(show.closed, show.ended, most=limits.connections)
    with stop.on_signals():  # until the sum has been told
        try:
            note(notes, opening)
            with output_errors():
                printer.begin()
            steps = Stepwise(stacks=source.head.stacks)
            feeder = printer if isinstance(printer, Feeder) else steps
            feeder.follow(tracker, show.summary)
            pump = Pump(source, tracker, feeder, printer, show.evidence)
            fault = pump.run(stop, Troubles(source, notes))
            now_ns = source.now_ns()
            verdicts = show.evidence.verdicts(tracker, show.summary, now_ns)
            with last_output():
                tracker.finish(now_ns)
                printer.flush()
        finally:
            losses = source.losses()
            source.close()
        show.summary.add_listeners(tracker.listeners)
        show.summary.add_folded(tracker.folded, tracker.counts.folded)
        elapsed_ns = max(0, now_ns - source.head.began_monotonic_ns)
        facts = TraceFacts(source.head, losses, elapsed_ns, tracker.unexpected, source.names)
        paint, width = Paint.of(notes), width_of(notes)
        told = render_summary(show.summary, facts, paint, width)
        if verdicts:
            told += "\n\n" + render_verdicts(verdicts, paint, source.names, width)
        note(notes, f"\n{told}")
    if fault is not None:
        raise fault
    return show.summary


class Pump(NamedTuple):
    """Moves records until the end."""

    source: Source
    tracker: Tracker
    feeder: Feeder
    printer: Printer
    evidence: Evidence

    def run(self, stop: Stop, troubles: Troubles) -> BadRecording | None:
        """Returns what stopped it, if it was no orderly end."""
        fault = None
        losing = Losing(self.source)
        now_ns = 0
        try:
            for now_ns, batch in batches(self.source, stop):
                if losing.goes_on():
                    self.feeder.catch_up(now_ns)
                    self.tracker.lose(self.source.now_ns())
                self.feeder.feed(batch, now_ns)
                self.evidence.look(self.source)
                with output_errors():
                    self.printer.flush()
                troubles.tell()
        except BadRecording as damage:
            fault = damage
        troubles.tell()
        self.feeder.catch_up(now_ns)
        return fault
