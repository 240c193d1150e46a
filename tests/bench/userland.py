"""How many events a second userland takes: from the ring's bytes to what each command tells.

Time on one CPU, natively. The stream is laid out as the kernel's ring has it, and read by the
collector's own reader; beside it, in the same run, what bcc's reader takes for the same records: a
callback for each, whose bytes are cast to a structure.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import mmap
import os
import select
import struct
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tcptrace import session
from tcptrace.exporting import Exporter
from tcptrace.kernel.binding import import_bcc
from tcptrace.kernel.live import BATCH_RECORDS
from tcptrace.kernel.ring import Ring
from tcptrace.kernel.surroundings import Surroundings
from tcptrace.lifecycle.names import Names
from tcptrace.lines import Lines
from tcptrace.sinks.jsonl import JsonPrinter
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.text import TextPrinter
from tcptrace.sinks.units import WallClock
from tcptrace.stopping import Limits, Stop
from tcptrace.watching import Watch
from tcptrace.wire import columns, framing
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.layout import FIELDS, RECORD_SIZE

from .host import Host
from .results import MORE, Column, Table, add_json_option, emit
from .stream import AT_ONCE, EVENTS, connections, lives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcptrace.wire.framing import Framing

CONNECTIONS = 20_000
LISTENERS = 10
ROUNDS = 7
_PAGE = mmap.PAGESIZE
_HEADER = struct.Struct("=II")
_CTYPES = {"B": ctypes.c_uint8, "H": ctypes.c_uint16, "I": ctypes.c_uint32, "Q": ctypes.c_uint64}


class FilledRing:
    """A ring as kernel/bpf/ringbuf.c lays it out, that has the whole stream in it."""

    def __init__(self, stream: bytes) -> None:
        head = _HEADER.pack(RECORD_SIZE, 0)
        span = b"".join(
            head + stream[at : at + RECORD_SIZE] for at in range(0, len(stream), RECORD_SIZE)
        )
        self._size = size = 1 << len(span).bit_length()
        self._descriptor = os.memfd_create("ring")
        os.ftruncate(self._descriptor, 2 * _PAGE + 2 * size)
        self._memory = mmap.mmap(self._descriptor, 0)
        self._memory[2 * _PAGE : 2 * _PAGE + len(span)] = span
        struct.pack_into("=Q", self._memory, _PAGE, len(span))

    def batches(self, handling: Framing = framing) -> Iterator[bytes]:
        """All of it, as the collector reads it, from the beginning."""
        struct.pack_into("=Q", self._memory, 0, 0)
        with _without_epoll():
            ring = Ring(self._descriptor, self._size, RECORD_SIZE, handling)
        surroundings = Surroundings(RECORD_SIZE, handling=handling)
        while batch := ring.read(BATCH_RECORDS):
            surroundings.notice(batch)
            yield batch
        ring.close()


@contextlib.contextmanager
def _without_epoll() -> Iterator[None]:
    """A memory file can't be waited for."""

    class Nothing:
        def register(self, *_: object) -> None: ...

        def close(self) -> None: ...

    kept = select.epoll
    select.epoll = Nothing  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        select.epoll = kept  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.userland")
    add_json_option(parser)
    file = parser.parse_args().json
    stream = connections(CONNECTIONS)
    events = len(stream) // RECORD_SIZE
    assert events == EVENTS * CONNECTIONS
    ring, whole = FilledRing(stream), FilledRing(lives(CONNECTIONS))
    told = (
        f"{events:,} events: {CONNECTIONS:,} connections, {AT_ONCE} at a time, both ends told; "
        "for `port` the end of each one's TIME_WAIT besides, when its line is written. "
        "bcc's callback reads five fields of each event, and does nothing more."
    )
    kinds = [Column("rate", "events/s", MORE), Column("an event", "µs")]
    table = Table("", "from the ring's bytes", kinds, notes=[told])
    runs: dict[str, Callable[[], None]] = {
        "bcc's callback, an event at a time": lambda: by_callback(stream),
        "read and decoded": lambda: decoded(ring),
        "serve: lives, counts, one scrape": lambda: served(ring),
        "port: lives, lines": lambda: traced(whole, as_lines),
        "port --json: lives, JSON": lambda: traced(whole, as_json, columns),
    }
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            begin = time.process_time()
            run()
            took[name].append(time.process_time() - begin)
    for name, seconds in took.items():
        number = events + CONNECTIONS * name.startswith("port")
        table.add(name, [number / s for s in seconds], [s * 1e6 / number for s in seconds])
    emit([table], file)
    return 0


def by_callback(stream: bytes) -> None:
    """Through bcc's own RingBuf: C calls it for each record, and it calls whoever opened the ring.

    Here lfind(3) is the C function that calls: for each element, as long as a number comes back.
    """
    table = import_bcc().table
    kept: dict[int, Any] = {}
    ring = table.RingBuf.__new__(table.RingBuf)
    ring.map_fd, ring._cbs, ring.bpf = -1, kept, SimpleNamespace(_open_ring_buffer=_nothing)
    fields = [(field.name, _ctype(field.code)) for field in FIELDS]
    ring._event_class = type("Event", (ctypes.Structure,), {"_fields_": fields})
    seen = 0

    def callback(_context: int, data: int, _size: int) -> int:
        nonlocal seen
        event = ring.event(data)
        seen += 1
        _ = (event.at_ns, event.sock, event.old_state, event.new_state, event.local_port)
        return 1

    ring.open_ring_buffer(callback)
    number = ctypes.c_size_t(len(stream) // RECORD_SIZE)
    libc = ctypes.CDLL(None)
    libc.lfind(None, stream, ctypes.byref(number), ctypes.c_size_t(RECORD_SIZE), kept[0])
    assert seen == number.value


def _nothing(*_: object) -> None: ...


def _ctype(code: str) -> Any:
    return _CTYPES.get(code) or ctypes.c_char * int(code.removesuffix("s"))


def decoded(ring: FilledRing) -> None:
    for batch in ring.batches():
        for _ in decode_batch(batch):
            pass


def served(ring: FilledRing) -> None:
    """What `tcptrace serve` runs, with a scrape at the end."""
    host = Host(LISTENERS, ring.batches(columns))
    exporter = Exporter()
    exporter.watch = watch = Watch(host, new_tally(), 100)
    stop = Stop(Limits())
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        stop.asked = watch.tally.accept_wait.count >= CONNECTIONS

    watch.run(stop, tick)
    text, _ = exporter.render("application/openmetrics-text")
    assert f"tcptrace_accept_wait_seconds_count {CONNECTIONS}.0\n".encode() in text


def as_lines(clock: WallClock) -> session.Printer:
    return TextPrinter(io.StringIO(), clock, Paint(enabled=False), None, Names())


def as_json(clock: WallClock) -> session.Printer:
    return Lines(JsonPrinter(io.BytesIO(), clock, lambda _: None, Names()))


def traced(
    ring: FilledRing,
    printer: Callable[[WallClock], session.Printer],
    handling: Framing = framing,
) -> None:
    """What `tcptrace port` runs."""
    host = Host(0, ring.batches(handling))
    told = printer(WallClock(host.head))
    summary = session.run(host, told, Limits(), io.StringIO(), "")
    assert summary is not None


if __name__ == "__main__":
    sys.exit(main())
