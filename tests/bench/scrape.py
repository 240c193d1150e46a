"""What one scrape costs: a host with many listeners and open sockets, told by synthetic records.

Time from the request's Accept header to the bytes; compression and HTTP not counted. Every counter
and length of every listener has changed since the scrape before.
"""

from __future__ import annotations

import statistics
import struct
import time
from typing import NamedTuple

from tcptrace.exporting import Exporter
from tcptrace.kernel.live import BATCH_RECORDS
from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.tcp import MAPPED_PREFIX, State
from tcptrace.watching import Watch
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.events import WIRE_VERSION, Kind
from tcptrace.wire.head import AttachedHook, Losses, ProgramRuns, TraceHead
from tcptrace.wire.layout import RECORD_FORMAT, RECORD_SIZE
from tcptrace.wire.ledger import (
    COUNTERS,
    COUNTS,
    SLOT_SIZE,
    Inventory,
    LedgerReading,
    NamespaceFigures,
    Slot,
    decode_slot,
)

LISTENERS = 1000
SOCKETS = 100_000
NAMESPACES = 10
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
BEGAN_NS = 1_000_000_000
NOW_NS = BEGAN_NS + 60_000_000_000
_EMPTY = next(decode_batch(bytes(RECORD_SIZE)))
_EMPTY_SLOT = decode_slot(bytes(SLOT_SIZE))
_PACK = struct.Struct("<" + RECORD_FORMAT)


class Figures(NamedTuple):
    """One format's, seconds.

    Attributes:
        took: of each round.
        held: for how long each round held the watch's lock.
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
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.held_s = time.perf_counter() - self._begin


class Host:
    """A source that has told everything already.

    Args:
        listeners: how many the ledger has.

    Attributes:
        round: of the measurement; all figures grow with it.
    """

    def __init__(self, listeners: int) -> None:
        self.listeners = listeners
        self.round = 0

    head = TraceHead(
        wire_version=WIRE_VERSION,
        record_size=RECORD_SIZE,
        stacks=False,
        kernel="6.12.0",
        machine="x86_64",
        hostname="bench",
        began_monotonic_ns=BEGAN_NS,
        began_realtime_ns=BEGAN_NS,
        what="everything",
        port=None,
        carrier="fentry",
        hooks=tuple(AttachedHook(f"hook_{number}", "fentry") for number in range(30)),
    )

    def read(self, timeout_s: float) -> bytes | None:  # noqa: ARG002 - reading.Source's
        return None

    def losses(self) -> Losses:
        return Losses(0, {}, ())

    @property
    def names(self) -> Names:
        return Names()

    def lost_records(self) -> int:
        return 0

    def now_ns(self) -> int:
        return NOW_NS

    def symbol(self, offset: int) -> str | None:  # noqa: ARG002
        return None

    takes_snapshots = False
    trouble = ""

    def snapshot(self, between: object) -> set[int]:  # noqa: ARG002
        return set()

    def ledger_reading(self) -> LedgerReading | None:
        zeros = (0,) * len(COUNTERS)
        return LedgerReading(
            NOW_NS,
            1,
            [(number, _slot(number, self.round)) for number in range(1, self.listeners + 1)],
            tuple(NamespaceFigures(n, "", 28_232, zeros, zeros) for n in range(1, NAMESPACES + 1)),
            cgroups={number: f"/system.slice/unit-{number}.service" for number in range(100)},
        )

    def inventory(self) -> dict[int, Inventory]:
        return {}

    def programs(self) -> tuple[ProgramRuns, ...]:
        return tuple(ProgramRuns(hook.name, hook.carrier, 5, 5000) for hook in self.head.hooks)

    def close(self) -> None: ...


def measure(listeners: int = LISTENERS, sockets: int = SOCKETS) -> dict[str, Figures]:
    """Renders in each format, ROUNDS times; every counter of every listener grows in between."""
    exporter = Exporter()
    exporter.watch = watch = Watch(host := Host(listeners), new_tally(), max(listeners, 1))
    told = records(listeners, sockets)
    for at in range(0, len(told), BATCH_RECORDS * RECORD_SIZE):
        watch.tracker.feed(decode_batch(told[at : at + BATCH_RECORDS * RECORD_SIZE]))
    watch.read_ledger()
    assert watch.tracker.open_count == sockets
    assert len(list(watch.ledger.listeners)) == listeners
    watch.lock = lock = Timed()  # type: ignore[assignment]
    figures = {}
    for name, accept in FORMATS.items():
        figures[name] = Figures([], [], len(exporter.render(accept)[0]))
        for _ in range(ROUNDS):
            _grow(host, watch)
            begin = time.perf_counter()
            exporter.render(accept)
            figures[name].took.append(time.perf_counter() - begin)
            figures[name].held.append(lock.held_s)
    return figures


def _grow(host: Host, watch: Watch) -> None:
    host.round += 1
    watch.read_ledger()
    for listening in watch.ledger.listeners:
        waits = watch.tally.waits.setdefault(listening.address, AcceptWaits())
        waits.add(host.round * 12_345, NOW_NS)


def report() -> str:
    """The figures as a table."""
    lines = [f"{'format':14}{'median':>12}{'least':>12}{'most':>12}{'lock held':>12}{'size':>12}"]
    for name, (took, held, size) in measure().items():
        times = (statistics.median(took), min(took), max(took), statistics.median(held))
        told = "".join(f"{seconds * 1e3:9.1f} ms" for seconds in times)
        lines.append(f"{name:14}{told}{size / 1e6:9.2f} MB")
    return "\n".join(lines)


def records(listeners: int, sockets: int) -> bytes:
    """A snapshot's records: sockets in several states, in each namespace."""
    return b"".join(_PACK.pack(*_seen(number, listeners)) for number in range(sockets))


def _seen(number: int, listeners: int) -> tuple[object, ...]:
    state = STATES[number % len(STATES)]
    return _EMPTY._replace(
        at_ns=BEGAN_NS + number * 1000,
        kind=Kind.SEEN,
        sock=(number + 1) << 6,
        local=_address(number % listeners),
        remote=MAPPED_PREFIX + (0x0A00_0000 + number).to_bytes(4, "big"),
        local_port=8080,
        remote_port=1024 + number % 60_000,
        netns=1 + number % NAMESPACES,
        family=2,
        old_state=state,
        new_state=state,
    )


def _slot(number: int, grown: int) -> Slot:
    return _EMPTY_SLOT._replace(
        sequence=2,
        opened_at_ns=BEGAN_NS,
        local=_address(number),
        comm=f"server-{number % 50}".encode(),
        cgroup=number % 100,
        netns=1 + number % NAMESPACES,
        pid=number,
        port=8080,
        accept_queue_limit=128,
        accept_queue_len=(number + grown) % 128,
        syn_queue_len=(number + grown) % 100,
        syncookies=1,
        counts=tuple(number * place + grown for place in range(COUNTS)),
    )


def _address(number: int) -> bytes:
    return MAPPED_PREFIX + (0xC0A8_0000 + number).to_bytes(4, "big")


if __name__ == "__main__":
    print(report())
