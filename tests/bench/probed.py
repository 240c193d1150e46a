"""What a connection costs with some programs attached: in all, and by the kernel's own count."""

from __future__ import annotations

import mmap
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.kernel.attaching import Attached, attach
from tcptrace.kernel.live import BATCH_RECORDS
from tcptrace.kernel.ring import Ring
from tcptrace.wire import columns
from tcptrace.wire.layout import RECORD_SIZE

from .floors import Carried, floor
from .instructions import PORT, RUNS, WARM_UP, connect, on_cpu_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.kernel.options import TraceOptions

CONNECTIONS: Final = 1500
TIME_WAIT_S: Final = 65.0
_STATS: Final = Path("/proc/sys/kernel/bpf_stats_enabled")


class Ran(NamedTuple):
    """What a connection had of a program: runs, and their run time with its counting."""

    program: Carried
    runs: float
    run_time_ns: float


class Cost(NamedTuple):
    """What a connection costs with some programs attached.

    Attributes:
        took: instructions.
        programs: each one's part of them.
        drained: instructions of the process that drains the ring, if any.
    """

    took: float
    programs: list[Ran]
    drained: float = 0.0


def calmly_connect(port: int = PORT) -> float:
    """Instructions a connection, once the last one's TIME_WAIT is over: it makes ports scarce.

    A guest with nothing to do lets its clock leap ahead, so that this wait takes no time.
    """
    time.sleep(TIME_WAIT_S)
    return connect(CONNECTIONS, port)


def cost_of(programs: list[Carried], port: int = PORT, drainer: int = 0) -> Cost:
    """Connects, then once more while the kernel counts the programs' run time."""
    connections = CONNECTIONS + WARM_UP
    took, drained = [], []
    for _ in range(RUNS):
        time.sleep(TIME_WAIT_S)
        before_ns = on_cpu_ns(drainer) if drainer else 0
        took.append(connect(CONNECTIONS, port))
        time.sleep(1)
        drained.append((on_cpu_ns(drainer) - before_ns if drainer else 0) / connections)
    _STATS.write_text("1", encoding="ascii")
    before = [_counted(program) for program in programs]
    calmly_connect(port)
    after = [_counted(program) for program in programs]
    _STATS.write_text("0", encoding="ascii")
    return Cost(
        median(took),
        [
            Ran(program, (now[0] - then[0]) / connections, (now[1] - then[1]) / connections)
            for program, then, now in zip(programs, before, after, strict=True)
        ],
        median(drained),
    )


def _counted(program: Carried) -> tuple[int, int]:
    """A program's runs and its run time until now."""
    info = Path(f"/proc/self/fdinfo/{program.descriptor}").read_text(encoding="ascii")
    told = dict(line.split(":", 1) for line in info.splitlines())
    return int(told.get("run_cnt", 0)), int(told.get("run_time_ns", 0))


def measure(options: TraceOptions, ports: dict[str, int]) -> dict[str, Cost]:
    """What a trace costs whose collector only drains the ring, by the port that is connected to."""
    attached = attach(options)
    hooks = attached.manifest["attached"]
    programs = [
        Carried(hook["name"], hook["carrier"], descriptor)
        for hook, descriptor in zip(hooks, attached.programs, strict=True)
    ]
    try:
        with _draining(attached, options) as drainer:
            return {case: cost_of(programs, port, drainer) for case, port in ports.items()}
    finally:
        maps = (attached.ring, attached.counters, *attached.ledger)
        for descriptor in (*attached.links, *attached.programs, *maps):
            os.close(descriptor)


@contextmanager
def _draining(attached: Attached, options: TraceOptions) -> Iterator[int]:
    """A process that drains the ring; yields its id."""
    drainer = os.fork()
    if drainer == 0:
        ring = Ring(attached.ring, options.ring_pages * mmap.PAGESIZE, RECORD_SIZE, columns)
        while True:
            ring.wait(1.0)
            ring.read(BATCH_RECORDS)
    try:
        time.sleep(1)
        yield drainer
    finally:
        os.kill(drainer, signal.SIGKILL)
        os.waitpid(drainer, 0)


def measure_floor(options: TraceOptions, senders: tuple[str, ...]) -> Cost:
    """What programs cost which do nothing, or send a record, on a trace's hooks."""
    with floor(options, senders) as programs:
        return cost_of(programs)
