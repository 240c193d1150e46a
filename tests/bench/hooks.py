"""What each hook of a trace costs, in instructions; needs root, in a guest run with --icount.

The collector of this trace only drains the ring. There the guest's clock counts instructions, so
that the run time which kernel.bpf_stats_enabled has the kernel count is a number of instructions
too: the program's own, and the counting's, which empty programs show. What carries a program to its
hook is not in it. The floors tell that: empty programs on the same hooks, and such of which those
that send do fill a record and send it without a wake-up.
"""

from __future__ import annotations

import argparse
import mmap
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from tcptrace.kernel.live import BATCH_RECORDS, Attached, attach
from tcptrace.kernel.options import TraceOptions
from tcptrace.kernel.ring import Ring
from tcptrace.wire.layout import RECORD_SIZE

from .floors import SENDERS, Carried, floor
from .instructions import CONNECTIONS, PORT, WARM_UP, connect
from .results import INSTRUCTIONS, LESS, NEITHER, Column, Table, add_json_option, emit

TRACES: Final = {
    "serve": TraceOptions(ledger=True),
    "port": TraceOptions(port=PORT),
    "port, of another port": TraceOptions(port=1),
}
CARRIERS: Final = ("fentry", "kprobe")
TIME_WAIT_S: Final = 65.0
_STATS: Final = Path("/proc/sys/kernel/bpf_stats_enabled")
_RETURNS: Final = ("fexit", "kretprobe")


class Ran(NamedTuple):
    """What a connection had of a program: runs, and their run time with its counting."""

    program: Carried
    runs: float
    run_time_ns: float


class Cost(NamedTuple):
    """What a connection costs with some programs attached: instructions added, and by program."""

    added: float
    programs: list[Ran]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hooks")
    parser.add_argument("only", nargs="*", metavar="TRACE", help=", ".join(TRACES))
    parser.add_argument("--attach", choices=CARRIERS, help="by this alone")
    add_json_option(parser)
    arguments = parser.parse_args()
    untraced = calmly_connect()
    sums = Table(
        "All hooks",
        "trace",
        [
            Column("added", INSTRUCTIONS),
            Column("empty programs", INSTRUCTIONS),
            Column("records filled and sent", INSTRUCTIONS),
        ],
        notes=[f"Without a tracer: {untraced:,.0f} instructions a connection."],
    )
    tables = [sums]
    for name, options in TRACES.items():
        if arguments.only and name not in arguments.only:
            continue
        columns = {}
        for way in [arguments.attach] if arguments.attach else CARRIERS:
            wanted = replace(options, attach=way)
            traced = measure(wanted, untraced)
            empty = measure_floor(wanted, (), untraced)
            sending = measure_floor(wanted, SENDERS, untraced)
            sums.add(f"{name}, {way}", traced.added, empty.added, sending.added)
            print(f"{name}, {way}: {traced.added:+,.0f}", file=sys.stderr, flush=True)
            columns[way] = by_hook(traced.programs, counting_of(empty.programs))
        tables.append(side_by_side(f"{name}, by hook", columns))
    emit(tables, arguments.json)
    return 0


def calmly_connect() -> float:
    """Instructions a connection, once the last one's TIME_WAIT is over: it makes ports scarce.

    A guest with nothing to do lets its clock leap ahead, so that this wait takes no time.
    """
    time.sleep(TIME_WAIT_S)
    return connect(CONNECTIONS)


def cost_of(programs: list[Carried], untraced: float) -> Cost:
    """Connects, then once more while the kernel counts the programs' run time."""
    added = calmly_connect() - untraced
    _STATS.write_text("1", encoding="ascii")
    before = [_counted(program) for program in programs]
    calmly_connect()
    after = [_counted(program) for program in programs]
    _STATS.write_text("0", encoding="ascii")
    connections = CONNECTIONS + WARM_UP
    return Cost(
        added,
        [
            Ran(program, (now[0] - then[0]) / connections, (now[1] - then[1]) / connections)
            for program, then, now in zip(programs, before, after, strict=True)
        ],
    )


def _counted(program: Carried) -> tuple[int, int]:
    """A program's runs and its run time until now."""
    info = Path(f"/proc/self/fdinfo/{program.descriptor}").read_text(encoding="ascii")
    told = dict(line.split(":", 1) for line in info.splitlines())
    return int(told.get("run_cnt", 0)), int(told.get("run_time_ns", 0))


def measure(options: TraceOptions, untraced: float) -> Cost:
    """What a trace costs whose collector only drains the ring."""
    attached = attach(options)
    drainer = os.fork()
    if drainer == 0:
        _drain(attached, options)
    try:
        time.sleep(1)
        hooks = attached.manifest["attached"]
        cost = cost_of(
            [
                Carried(hook["name"], hook["carrier"], descriptor)
                for hook, descriptor in zip(hooks, attached.programs, strict=True)
            ],
            untraced,
        )
    finally:
        os.kill(drainer, signal.SIGKILL)
        os.waitpid(drainer, 0)
        maps = (attached.ring, attached.counters, *attached.ledger)
        for descriptor in (*attached.links, *attached.programs, *maps):
            os.close(descriptor)
    return cost


def _drain(attached: Attached, options: TraceOptions) -> None:
    ring = Ring(attached.ring, options.ring_pages * mmap.PAGESIZE, RECORD_SIZE)
    while True:
        ring.wait(1.0)
        ring.read(BATCH_RECORDS)


def measure_floor(options: TraceOptions, senders: tuple[str, ...], untraced: float) -> Cost:
    """What programs cost which do nothing, or send a record, on a trace's hooks."""
    with floor(options, senders) as programs:
        return cost_of(programs, untraced)


def counting_of(empty: list[Ran]) -> float:
    """What counting a run adds to its run time: all that there is of an empty program's."""
    return sum(ran.run_time_ns for ran in empty) / sum(ran.runs for ran in empty)


def by_hook(programs: list[Ran], counting: float) -> dict[str, list[float]]:
    """Of each hook that ran for most connections: runs, its own instructions, its run time."""
    cells = {}
    own_of_all = 0.0
    for program, runs, run_time_ns in programs:
        own = run_time_ns - runs * counting
        own_of_all += own
        if runs > 1 / 2:
            place = "return" if program.carrier in _RETURNS else "entry"
            cells[f"{program.hook}, {place}"] = [runs, own, run_time_ns]
    cells["all of them"] = [
        sum(ran.runs for ran in programs),
        own_of_all,
        sum(ran.run_time_ns for ran in programs),
    ]
    return cells


def side_by_side(title: str, columns: dict[str, dict[str, list[float]]]) -> Table:
    """Joins the figures by each carrier."""
    kinds = (("runs", "", NEITHER), ("own", INSTRUCTIONS, LESS), ("counted", INSTRUCTIONS, LESS))
    table = Table(
        title,
        "hook",
        [Column(f"{kind}, {way}", unit, better) for way in columns for kind, unit, better in kinds],
        notes=["`counted` is the run time that the kernel counts, which its counting lengthens."],
    )
    for hook in dict.fromkeys(hook for cells in columns.values() for hook in cells):
        row = [cells.get(hook, [None] * len(kinds)) for cells in columns.values()]
        table.add(hook, *(value for cells in row for value in cells))
    return table


if __name__ == "__main__":
    sys.exit(main())
