"""What each hook of a trace costs, in instructions; needs root, in a guest run with --icount.

The collector of this trace only drains the ring. There the guest's clock counts instructions, so
that the run time which kernel.bpf_stats_enabled has the kernel count is a number of instructions
too: the program's own, and the counting's, which empty programs show. What carries a program to its
hook is not in it. The floors tell that: empty programs on the same hooks, and such of which those
that send do fill a record and send it without a wake-up; and one program alone by each carrier.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.kernel.options import TraceOptions

from .floors import SENDERS, carried_alone
from .instructions import PORT, connect_untraced
from .probed import CONNECTIONS, cost_of, measure, measure_floor
from .results import INSTRUCTIONS, LESS, NEITHER, Column, Table, add_json_option, emit

if TYPE_CHECKING:
    from .probed import Cost, Ran

OTHER_PORT: Final = PORT + 1
TRACES: Final = {
    "serve": (TraceOptions(ledger=True), {"serve": PORT}),
    "port": (TraceOptions(port=PORT), {"port": PORT, "port, of another port": OTHER_PORT}),
}
"""What is traced, and the ports that are connected to meanwhile."""
WAYS: Final = ("fentry", "kprobe")
_RETURNS: Final = ("fexit", "kretprobe")
_ALL: Final = "all of them"


class Measured(NamedTuple):
    """A trace by one way: what a connection takes with it, with its floors, and without."""

    traced: Cost
    empty: Cost
    sending: Cost | None
    untraced: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hooks")
    parser.add_argument("only", nargs="*", metavar="TRACE", help=", ".join(TRACES))
    parser.add_argument("--attach", choices=WAYS, action="append", help="by this alone")
    add_json_option(parser)
    arguments = parser.parse_args()
    zeros = []
    cases: dict[str, dict[str, Measured]] = {}
    for way in arguments.attach or WAYS:
        for name, (options, ports) in TRACES.items():
            if arguments.only and name not in arguments.only:
                continue
            wanted = replace(options, attach=way)
            empty = measure_floor(wanted, ())
            sending = measure_floor(wanted, SENDERS)
            traced = measure(wanted, ports)
            # Last: on 6.1 a guest's first connections take a hundredth more than later ones.
            untraced = connect_untraced(CONNECTIONS)
            zeros.append(untraced)
            for case, cost in traced.items():
                told = Measured(cost, empty, sending if ports[case] == PORT else None, untraced)
                cases.setdefault(case, {})[way] = told
                print(f"{case}, {way}: {cost.took - untraced:+,.0f}", file=sys.stderr, flush=True)
    carriers = measure_carriers(median(zeros))
    tables = (side_by_side(f"{case}, by hook", ways) for case, ways in cases.items())
    emit([in_all(cases, median(zeros)), *tables, carriers], arguments.json)
    return 0


def in_all(cases: dict[str, dict[str, Measured]], untraced: float) -> Table:
    """The sums of all hooks, beside the floors."""
    names = ("added", "drained", "empty programs", "records filled and sent")
    table = Table(
        "All hooks",
        "trace",
        [Column(name, INSTRUCTIONS) for name in names],
        notes=[
            f"Without a tracer: {untraced:,.0f} instructions a connection.",
            "`drained` is what a process takes beside that does nothing but empty the ring.",
        ],
    )
    for case, ways in cases.items():
        for way, (traced, empty, sending, zero) in ways.items():
            sent = sending.took - zero if sending else None
            added, floor = traced.took - zero, empty.took - zero
            table.add(f"{case}, {way}", added, traced.drained, floor, sent)
    return table


def measure_carriers(untraced: float) -> Table:
    """What one program costs by each carrier, at every change of state."""
    table = Table(
        "One program alone where states change, by carrier",
        "carrier",
        [
            Column("runs", better=NEITHER),
            Column("empty", INSTRUCTIONS),
            Column("record filled and sent", INSTRUCTIONS),
            Column("empty, a run", INSTRUCTIONS),
        ],
        notes=["On tcp_set_state, by tp_btf and raw_tracepoint on the tracepoint in it."],
    )
    empty, sending = (
        {programs[0].carrier: cost_of(programs) for programs in carried_alone(sends=sends)}
        for sends in (False, True)
    )
    for carrier, cost in empty.items():
        runs = sum(ran.runs for ran in cost.programs)
        added, sent = cost.took - untraced, sending[carrier].took - untraced
        table.add(carrier, runs, added, sent, added / runs)
    return table


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
    cells[_ALL] = [
        sum(ran.runs for ran in programs),
        own_of_all,
        sum(ran.run_time_ns for ran in programs),
    ]
    return cells


def side_by_side(title: str, ways: dict[str, Measured]) -> Table:
    """Joins the figures of a trace's hooks by each way."""
    kinds = (("runs", "", NEITHER), ("own", INSTRUCTIONS, LESS), ("counted", INSTRUCTIONS, LESS))
    table = Table(
        title,
        "hook",
        [Column(f"{kind}, {way}", unit, better) for way in ways for kind, unit, better in kinds],
        notes=["`counted` is the run time that the kernel counts, which its counting lengthens."],
    )
    columns = [
        by_hook(one.traced.programs, counting_of(one.empty.programs)) for one in ways.values()
    ]
    hooks = dict.fromkeys(hook for cells in columns for hook in cells)
    for hook in sorted(hooks, key=_ALL.__eq__):
        row = [cells.get(hook, [None] * len(kinds)) for cells in columns]
        table.add(hook, *(value for cells in row for value in cells))
    return table


if __name__ == "__main__":
    sys.exit(main())
