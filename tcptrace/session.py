"""Puts a trace together: a source of records, the tracker, a printer, the summary.

The only place that knows them all. `run` shows lives; `record` only keeps their records.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from tcptrace.errors import BadRecording, OutputFailed
from tcptrace.lifecycle.summary import Summary
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.sinks.summary import TraceFacts, render_summary
from tcptrace.sinks.terminal import Paint, safe_text, width_of
from tcptrace.sinks.units import duration, plural, size
from tcptrace.stopping import Limits, Stop
from tcptrace.wire.decode import decode_batch, decode_stacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TextIO

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.names import Names
    from tcptrace.sinks.recording import RecordingWriter
    from tcptrace.wire.head import Losses, ProgramRuns, TraceHead
    from tcptrace.wire.ledger import Inventory, LedgerReading


_LAST_BATCHES: Final = 64
"""How many more reads a trace makes once it should end: enough for what the ring holds."""


READING_PERIOD_NS: Final = 1_000_000_000
"""Between two readings of the ledger."""


class Source(Protocol):
    """Where records come from: the kernel, or a recording."""

    @property
    def head(self) -> TraceHead:
        """What is traced, and how."""

    def read(self, timeout_s: float) -> bytes | None:
        """Returns whole records end to end; b"" after the timeout; None at the end."""

    def losses(self) -> Losses:
        """Returns what was missed until now."""

    def lost_records(self) -> int:
        """Returns how many records are known to be lost until now; cheap."""

    def now_ns(self) -> int:
        """Returns the time on the records' clock."""

    def symbol(self, offset: int) -> str | None:
        """Names a kernel address given as its offset from _stext; None if it can't."""

    @property
    def names(self) -> Names:
        """Names for the numbers in the records, as far as they are known by now."""

    @property
    def trouble(self) -> str:
        """What has gone wrong besides the tracing itself; "" while all is well."""

    @property
    def takes_snapshots(self) -> bool:
        """Whether it can: a recording has none but those that were taken when it was made."""

    def snapshot(self, between: Callable[[], None]) -> set[int]:
        """Has a record of every socket sent; returns the namespaces that it covers.

        Args:
            between: called from time to time, so that the records can be read.
        """

    def ledger_reading(self) -> LedgerReading | None:
        """Returns the ledger as it stands; None if there is none."""

    def inventory(self) -> Mapping[int, Inventory]:
        """Returns what the kernel says of its own sockets, by namespace; asks it now."""

    def programs(self) -> Sequence[ProgramRuns]:
        """Returns what the BPF programs have cost until now, where that is known."""

    def close(self) -> None:
        """Ends the trace."""


class Losing:
    """Notices that a source has lost more records."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.lost = 0
        """How many, as of the last question."""

    def goes_on(self) -> bool:
        """Whether there are more than at the last question."""
        before, self.lost = self.lost, self._source.lost_records()
        return self.lost > before


class Troubles:
    """Tells what goes wrong with a source, once, and again if it is another or had passed."""

    def __init__(self, source: Source, notes: TextIO) -> None:
        self._source = source
        self._notes = notes
        self._told = ""

    def tell(self) -> None:
        """Writes a line if something has gone wrong since the last time."""
        trouble = self._source.trouble
        if trouble and trouble != self._told:
            note(self._notes, safe_text(f"tcptrace: {trouble}"))
        self._told = trouble


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


class _Show:
    """Passes lives from the tracker to the printer and the summary, up to the limit."""

    def __init__(self, source: Source, printer: Printer, count: int | None, stop: Stop) -> None:
        self.summary = Summary()
        self._source = source
        self._printer = printer
        self._left = count
        self._stop = stop

    def closed(self, connection: Connection) -> None:
        self.summary.add(connection)
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
        printer: shows the lives.
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
    try:
        with stop.on_signals():
            note(notes, opening)
            with output_errors():
                printer.begin()
            fault = _pump(source, tracker, printer, stop, Troubles(source, notes))
            now_ns = source.now_ns()
            tracker.finish(now_ns)
            with output_errors():
                printer.flush()
    finally:
        losses = source.losses()
        source.close()
    show.summary.add_listeners(tracker.listeners)
    show.summary.add_folded(tracker.folded, tracker.counts.folded)
    elapsed_ns = max(0, now_ns - source.head.began_monotonic_ns)
    facts = TraceFacts(source.head, losses, elapsed_ns, tracker.unexpected, source.names)
    note(notes, "\n" + render_summary(show.summary, facts, Paint.of(notes), width_of(notes)))
    if fault is not None:
        raise fault
    return show.summary


def _pump(
    source: Source, tracker: Tracker, printer: Printer, stop: Stop, troubles: Troubles
) -> BadRecording | None:
    """Moves records until the end; returns what stopped it, if it was no orderly end."""
    stacks = source.head.stacks
    losing = Losing(source)
    try:
        for now_ns, batch in batches(source, stop):
            if losing.goes_on():
                tracker.lose()
            if batch and stacks:
                tracker.feed_stacked(decode_stacked(batch))
            elif batch:
                tracker.feed(decode_batch(batch))
            tracker.advance(now_ns)
            with output_errors():
                printer.flush()
            troubles.tell()
    except BadRecording as fault:
        return fault
    return None


def batches(source: Source, stop: Stop) -> Iterator[tuple[int, bytes]]:
    """Yields what the source gives, and at the end what it still held.

    Yields:
        The time before the read, so that whatever happened until then is in this batch or was in
        one before; and whole records end to end, or b"" if there were none in time.
    """
    while not stop.due:
        now_ns = source.now_ns()
        batch = source.read(stop.wait_s)
        if batch is None:
            return
        yield now_ns, batch
    for _ in range(_LAST_BATCHES):
        now_ns = source.now_ns()
        batch = source.read(0)
        if not batch:
            return
        yield now_ns, batch


def record(
    source: Source, writer: RecordingWriter, limits: Limits, notes: TextIO, opening: str
) -> None:
    """Writes everything that the source tells to a recording, until a limit or a signal.

    Args:
        source: closed in any case.
        writer: takes the records.
        limits: when to end by itself; counts nothing.
        notes: where it says at the end what was written: stderr.
        opening: the line for `notes` once a signal would end the trace tidily.

    Raises:
        OutputFailed: the file takes no more; what was written before stays readable.
    """
    stop = Stop(limits)
    try:
        with stop.on_signals():
            note(notes, opening)
            _record_all(source, writer, stop, Troubles(source, notes))
            writer.write_names(source.names)
            losses, now_ns = source.losses(), source.now_ns()
            writer.finish(losses, now_ns)
    finally:
        source.close()
    elapsed = duration(now_ns - source.head.began_monotonic_ns)
    told = f"{plural(writer.records, 'record')}, {size(writer.size)} in {elapsed}"
    note(notes, f"recorded {told}; {losses.lost_records:,} lost")


def _record_all(source: Source, writer: RecordingWriter, stop: Stop, troubles: Troubles) -> None:
    records = _Records(source, writer)
    _write_ledger(source, writer)
    source.snapshot(records.drain)
    next_reading_ns = 0
    for now_ns, batch in batches(source, stop):
        records.write(batch)
        troubles.tell()
        if now_ns >= next_reading_ns:
            next_reading_ns = now_ns + READING_PERIOD_NS
            _write_ledger(source, writer)
    _write_ledger(source, writer)


class _Records:
    """Passes records on to a recording, and says before them that some were lost."""

    def __init__(self, source: Source, writer: RecordingWriter) -> None:
        self._source = source
        self._writer = writer
        self._losing = Losing(source)

    def write(self, batch: bytes) -> None:
        if self._losing.goes_on():
            self._writer.write_lost(self._losing.lost)
        # Before the records, so that whoever reads them knows the names.
        self._writer.write_names(self._source.names)
        if batch:
            self._writer.write(batch)

    def drain(self) -> None:
        """Writes what the ring holds; more may come as fast as it is taken."""
        for _ in range(_LAST_BATCHES):
            batch = self._source.read(0)
            if not batch:
                return
            self.write(batch)


def _write_ledger(source: Source, writer: RecordingWriter) -> None:
    reading = source.ledger_reading()
    if reading is not None:
        writer.write_ledger(reading)


def tracing_line(head: TraceHead, weaknesses: Iterable[str] = ()) -> str:
    """Says in one line that tracing has begun, and how.

    Args:
        head: what is traced.
        weaknesses: what is not as it should be.
    """
    hooks = plural(len(head.hooks), "hook")
    carrier = head.carrier
    by_kprobe = sum(hook.carrier in ("kprobe", "kretprobe") for hook in head.hooks)
    if carrier != "kprobe" and by_kprobe:
        carrier += f", {by_kprobe} of them by kprobe"
    untold = f"; this kernel can't tell {', '.join(head.untold)}" if head.untold else ""
    weak = "".join(f"; {weakness}" for weakness in weaknesses)
    return safe_text(
        f"tracing {head.what}: {hooks}, {carrier}, kernel {head.kernel}{untold}{weak}; Ctrl-C ends"
    )


def note(notes: TextIO, text: str) -> None:
    """Writes whole lines to stderr; nobody there to read them is no reason to end a trace."""
    with suppress(OSError):
        notes.write(f"{text}\n")
        notes.flush()


@contextmanager
def output_errors() -> Iterator[None]:
    """Turns a failed write to the output into its error; a reader that went away passes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"can't write the output: {error.strerror}") from error
