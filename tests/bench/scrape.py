"""What one scrape costs: a host with many listeners and open sockets, told by synthetic records.

Time on the CPU from the request's Accept header to the bytes; compression and HTTP not counted.
Every counter and length of every listener has changed since the scrape before.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from tcptrace.exporting import Exporter
from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.stopping import Limits, Stop
from tcptrace.tcp import MAPPED_PREFIX, State
from tcptrace.watching import Watch
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.events import Kind
from tcptrace.wire.layout import RECORD_FORMAT, RECORD_SIZE

from .host import NAMESPACES, Host, address, in_batches
from .results import Column, Table, add_json_option, emit
from .stream import BEGAN_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LISTENERS = 1000
SOCKETS = 100_000
ROUNDS = 9
FORMATS = {
    "text": "text/plain; version=0.0.4",
    "OpenMetrics": "application/openmetrics-text; version=1.0.0",
    "protobuf": (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily;"
        " encoding=delimited"
    ),
}
STATES = (State.ESTABLISHED, State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT2)
_EMPTY = next(decode_batch(bytes(RECORD_SIZE)))
_PACK = struct.Struct("<" + RECORD_FORMAT)


class Figures(NamedTuple):
    """One format's.

    Attributes:
        took: of each round, s.
        held: for how long each round held the watch's lock, s.
        size: bytes.
    """

    took: list[float]
    held: list[float]
    size: int


class Timed:
    """A lock that knows how long it was held."""

    def __init__(self) -> None:
        self.held_s = 0.0
        self._begin = 0.0

    def __enter__(self) -> None:
        self._begin = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.held_s = time.thread_time() - self._begin


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scrape")
    add_json_option(parser)
    arguments = parser.parse_args()
    tables = [
        _as_table(f"{LISTENERS:,} listeners, {SOCKETS:,} open sockets", "format", measure()),
        _growth("listeners", [(n, 10_000) for n in (0, 250, 500, 1000, 2000, 4000)]),
        _growth("open sockets", [(100, n) for n in (0, 25_000, 50_000, 100_000, 200_000)]),
    ]
    emit(tables, arguments.json)
    return 0


def measure(
    listeners: int = LISTENERS, sockets: int = SOCKETS, formats: Iterable[str] = tuple(FORMATS)
) -> dict[str, Figures]:
    """Renders in each format, ROUNDS times; every counter of every listener grows in between."""
    host, watch = watched(listeners, sockets)
    exporter = Exporter()
    exporter.watch = watch
    watch.lock = lock = Timed()  # type: ignore[assignment]
    figures = {}
    for name in formats:
        accept = FORMATS[name]
        figures[name] = Figures([], [], len(exporter.render(accept)[0]))
        for _ in range(ROUNDS):
            _grow(host, watch)
            begin = time.thread_time()
            exporter.render(accept)
            figures[name].took.append(time.thread_time() - begin)
            figures[name].held.append(lock.held_s)
    return figures


def watched(listeners: int, sockets: int) -> tuple[Host, Watch]:
    """A host, and a watch that has seen all of it."""
    host = Host(listeners, in_batches(_seen(sockets, listeners)))
    watch = Watch(host, new_tally(), max(listeners, 1), 1 << 20)
    stop = Stop(Limits())

    def tick() -> None:
        stop.asked = watch.tracker.open_count == sockets

    watch.run(stop, tick)
    watch.read_ledger()
    assert len(list(watch.ledger.listeners)) == listeners
    return host, watch


def _grow(host: Host, watch: Watch) -> None:
    host.round += 1
    watch.read_ledger()
    for listening in watch.ledger.listeners:
        waits = watch.tally.waits.setdefault(listening.address, AcceptWaits())
        waits.add(host.round * 12_345, host.now_ns())


def _as_table(title: str, head: str, figures: dict[str, Figures]) -> Table:
    columns = [Column("took", "ms"), Column("lock held", "ms"), Column("size", "MB")]
    table = Table(title, head, columns)
    for name, (took, held, size) in figures.items():
        table.add(name, [s * 1e3 for s in took], [s * 1e3 for s in held], size / 1e6)
    return table


def _growth(of: str, sizes: list[tuple[int, int]]) -> Table:
    """In OpenMetrics, by how many there are of one kind; the other stays."""
    grows = 0 if of == "listeners" else 1
    found = {f"{size[grows]:,}": measure(*size, ("OpenMetrics",))["OpenMetrics"] for size in sizes}
    rest = f"{sizes[0][1 - grows]:,} {('open sockets', 'listeners')[grows]}"
    table = _as_table(f"by {of}, {rest}", of, found)
    table.growth = of
    return table


def _seen(sockets: int, listeners: int) -> Iterator[bytes]:
    """A snapshot's records: sockets in several states, in each namespace."""
    for number in range(sockets):
        state = STATES[number % len(STATES)]
        record = _EMPTY._replace(
            at_ns=BEGAN_NS + number * 1000,
            kind=Kind.SEEN,
            sock=(number + 1) << 6,
            local=address(number % max(listeners, 1)),
            remote=MAPPED_PREFIX + (0x0A00_0000 + number).to_bytes(4, "big"),
            local_port=8080,
            remote_port=1024 + number % 60_000,
            netns=1 + number % NAMESPACES,
            family=2,
            old_state=state,
            new_state=state,
        )
        yield _PACK.pack(*record)


if __name__ == "__main__":
    sys.exit(main())
