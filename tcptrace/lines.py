"""Prints lives as JSON Lines, many at once where many come: the same lines, a tenth of the work.

Records are gathered as long as more come at once than a person would read, and for half a second at
most. What lives whole among them come to is written by columns (lifecycle.plain, sinks.forms); the
tracker tells of all others, and each line stands where it would have stood.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace import heap
from tcptrace.lifecycle.bulk import FEWEST_RECORDS
from tcptrace.lifecycle.plain import Plain
from tcptrace.lifecycle.scales import histogram_of
from tcptrace.lifecycle.summary import Waits
from tcptrace.notes import output_errors
from tcptrace.sinks.forms import Form, Sides
from tcptrace.wire import columns
from tcptrace.wire.layout import RECORD_SIZE

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.histogram import Histogram
    from tcptrace.lifecycle.marks import Columns
    from tcptrace.lifecycle.plain import Told
    from tcptrace.lifecycle.summary import Summary
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.sinks.jsonl import JsonPrinter
    from tcptrace.wire.columns import Words

_MOST_GATHERED: Final = 16384 * RECORD_SIZE
_MOST_FORMS: Final = 1024
_GATHER_NS: Final = 500_000_000


class Lines:
    """A printer that takes records by itself.

    Args:
        printer: prints the lives that the tracker tells of.
    """

    after_time_wait = True

    def __init__(self, printer: JsonPrinter) -> None:
        self._printer = printer
        self._changes = 0
        self._forms: dict[int, tuple[Connection, Form]] = {}
        """With the prototype of each, so that its id is no other one's."""
        self._gathered: list[bytes] = []
        self._size = 0
        self._since_ns = 0
        self._place = -1
        self._lines: list[tuple[int, bytes]] = []

    def follow(self, tracker: Tracker, summary: Summary) -> None:
        """Begins: the tracker gets what is left, the summary has the lives added that it lacks."""
        heap.keep_freed()
        self._tracker = tracker
        self._summary = summary
        self._plain = Plain(tracker, self._at)

    def _at(self, place: int) -> None:
        self._place = place

    # As a printer.

    def begin(self) -> None:
        """As the printer does."""
        self._printer.begin()

    def show(self, connection: Connection, now_ns: int) -> None:  # noqa: ARG002 - Printer's
        """Prints a life that the tracker told of, in its place."""
        self._lines.append((self._place, self._printer.line_of(connection)))

    def flush(self) -> None:
        """Prints what is to be printed, and hands it to the reader."""
        self._write()
        self._printer.flush()

    # As what feeds the tracker.

    def feed(self, batch: bytes, now_ns: int) -> None:
        """Takes records, and perhaps waits for more.

        Args:
            batch: whole records.
            now_ns: a time whose records have all been read.
        """
        is_sparse = len(batch) < FEWEST_RECORDS * RECORD_SIZE
        if not self._gathered:
            self._since_ns = now_ns
        if batch:
            self._gathered.append(batch)
            self._size += len(batch)
        is_due = now_ns - self._since_ns >= _GATHER_NS or self._size >= _MOST_GATHERED
        if is_sparse or is_due:
            self.catch_up(now_ns)

    def catch_up(self, now_ns: int) -> None:
        """Has the tracker told of all that was read."""
        batch = b"".join(self._gathered)
        self._gathered.clear()
        self._size = 0
        if batch:
            for told in self._plain.feed(batch):
                self._tell(told)
        self._tracker.advance(now_ns)

    def _tell(self, told: Told) -> None:
        for closed, numbers, pairs in told.closed:
            waits = (closed.handshake_ns, closed.syn_queue_wait_ns, closed.accept_wait_ns)
            histograms = Waits(*(_histogram(numbers, wait) for wait in waits))
            self._summary.add_alike(closed, len(numbers.times), histograms, pairs)
        for over in told.over:
            lines = self._form(over.connection).lines(
                over.numbers, _sides(over.records), self._printer.clock
            )
            self._lines += zip(over.places.tolist(), lines, strict=True)
        self._write()

    def _form(self, connection: Connection) -> Form:
        """The lines of lives of a prototype, as long as no name changes."""
        changes = self._printer.names.changes
        if changes != self._changes or len(self._forms) >= _MOST_FORMS:
            self._changes = changes
            self._forms.clear()
        if id(connection) not in self._forms:
            form = Form(self._printer.object_of(connection))
            self._forms[id(connection)] = (connection, form)
        return self._forms[id(connection)][1]

    def _write(self) -> None:
        """Prints the lines in the order in which their lives were over."""
        if not self._lines:
            return
        self._lines.sort(key=itemgetter(0))
        text = b"".join([line for _, line in self._lines])
        self._lines.clear()
        self._place = -1
        with output_errors():
            self._printer.write(text)


def _histogram(numbers: Columns, wait_ns: int | None) -> Histogram:
    waits = numbers.known(wait_ns)
    return histogram_of(np.empty(0, np.int64) if waits is None else waits)


def _sides(records: Words) -> Sides:
    ports = columns.ports(records).astype(np.int64)
    local, remote = (
        np.ascontiguousarray(records[:, place : place + 2])
        for place in (columns.LOCAL, columns.REMOTE)
    )
    return Sides(local, ports & 0xFFFF, remote, ports >> 16)
