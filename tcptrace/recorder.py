"""Keeps the records of a source in a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.notes import Troubles, note
from tcptrace.reading import LAST_BATCHES, READING_PERIOD_NS, Losing, batches
from tcptrace.sinks.units import duration, plural, size
from tcptrace.stopping import Stop

if TYPE_CHECKING:
    from typing import TextIO

    from tcptrace.reading import Source
    from tcptrace.sinks.recording import RecordingWriter
    from tcptrace.stopping import Limits


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
    with stop.on_signals():
        try:
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
        for _ in range(LAST_BATCHES):
            batch = self._source.read(0)
            if not batch:
                return
            self.write(batch)


def _write_ledger(source: Source, writer: RecordingWriter) -> None:
    reading = source.ledger_reading()
    if reading is not None:
        writer.write_ledger(reading)
