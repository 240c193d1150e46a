"""What tracing costs a connection, in instructions; needs root, in a guest run with --icount.

There one CPU's clock counts instructions, so that the figure repeats within a fraction of a percent
whatever the machine does. One process connects to itself, accepts and closes, again and again, on
loopback: both ends are traced. What is counted is the time on the CPU of that process, in which the
probes run, and of the tracer, until it has told of all connections.

What a tracer does whether or not anybody connects, it does at known times, and is counted apart: it
idles; `serve` takes a snapshot once a minute, in which each socket costs something; and tcptrace is
told of TIME_WAIT's end a minute after its beginning, when `port --json` has a line for it. Nobody
connects before all of TIME_WAIT is over that others left.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from .loopback import connect_to, listening
from .results import INSTRUCTIONS, Column, Table, add_json_option, emit
from .tracer import ToolError, lost_by, resident_kb, tracing

if TYPE_CHECKING:
    from collections.abc import Iterable

PORT: Final = 8282
WARM_UP: Final = 100
CONNECTIONS: Final = 6000
RUNS: Final = 3
READY_S: Final = 600.0
IDLE_S: Final = 40.0
"""Within a minute after its start, in which there is no second snapshot."""
SNAPSHOT_PERIOD_S: Final = 60.0
"""Of serve, since it is ready."""
TOLD_S: Final = 5.0
"""So long after the last connection has ended everything is told."""
LATE_S: Final = 3.0
"""After what is done once a minute: sooner than TIME_WAIT ends of what began after the last."""
PEERS: Final = ("libbpf-tools", "bpfcc-tools")
_CPUCLOCK_SCHED: Final = 2
SERVING: Final = b"serving"
METRICS: Final = "http://127.0.0.1:9436/metrics"
_TCPTRACE: Final = (sys.executable, "-m", "tcptrace.cli.main")


class Tool(NamedTuple):
    """A tracer.

    Attributes:
        name: for people.
        command: its command line; the first word is looked for on PATH.
        ready: what its output or its errors have when it traces.
        takes_snapshots: whether it looks at every socket once a minute.
    """

    name: str
    command: tuple[str, ...]
    ready: bytes
    takes_snapshots: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is told of TIME_WAIT's end too."""
        return self.command[: len(_TCPTRACE)] == _TCPTRACE


def _named(*names: str) -> str:
    """As this release names a tool."""
    return next(filter(shutil.which, names), names[0])


TOOLS: Final = (
    Tool("tcptrace serve", (*_TCPTRACE, "serve"), SERVING, takes_snapshots=True),
    Tool("tcptrace port", (*_TCPTRACE, "port", str(PORT)), b"tracing "),
    Tool("tcptrace port --json", (*_TCPTRACE, "port", str(PORT), "--json"), b"tracing "),
    Tool("tcptrace port, of another port", (*_TCPTRACE, "port", "1"), b"tracing "),
    Tool(
        "tcptrace serve --attach kprobe",
        (*_TCPTRACE, "serve", "--attach", "kprobe"),
        SERVING,
        takes_snapshots=True,
    ),
    Tool("libbpf-tools tcplife (C)", (_named("tcplife", "tcplife-libbpf"),), b"LADDR"),
    Tool("libbpf-tools tcpstates (C)", (_named("tcpstates", "tcpstates-libbpf"),), b"OLDSTATE"),
    Tool("bcc tcplife", ("tcplife-bpfcc",), b"LADDR"),
    Tool("bcc tcpstates", ("tcpstates-bpfcc",), b"OLDSTATE"),
)


class Cost(NamedTuple):
    """Instructions a connection, if nothing else is said.

    Attributes:
        workload: of the process that connects, probes included.
        tracer: of the tracer's processes.
        resident_kb: of the tracer, afterwards.
        lost: events, by its own count.
        idle: of the tracer, a second.
        later: of the tracer besides: what for, and how many.
    """

    workload: float
    tracer: float
    resident_kb: int
    lost: int
    idle: float
    later: dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions")
    parser.add_argument("only", nargs="*", metavar="WORD", help="tools whose names have this")
    add_json_option(parser)
    arguments = parser.parse_args()
    only = arguments.only
    chosen = [tool for tool in TOOLS if not only or any(word in tool.name for word in only)]
    costs, notes = measure_each(chosen)
    # Last: on 6.1 a guest's first connections take a hundredth more than later ones.
    untraced = connect_untraced(CONNECTIONS)
    table = Table(
        "",
        "added by",
        [
            Column("in all", INSTRUCTIONS),
            Column("probes", INSTRUCTIONS),
            Column("tracer", INSTRUCTIONS),
            Column("resident", "MB"),
            Column("events lost"),
        ],
        notes=[f"Without a tracer: {untraced:,.0f} instructions a connection.", *notes],
    )
    besides = Table("What the tracer takes besides", "for", [Column("takes", INSTRUCTIONS)])
    for tool, cost in costs.items():
        probes = cost.workload - untraced
        table.add(
            tool.name, probes + cost.tracer, probes, cost.tracer, cost.resident_kb / 1024, cost.lost
        )
        besides.add(f"{tool.name}: idle, a second", cost.idle)
        for what, number in cost.later.items():
            besides.add(f"{tool.name}: {what}", number)
    table.notes += [f"{name} {version}." for name, version in versions_of(PEERS).items()]
    emit([table, besides], arguments.json)
    return 0


def measure_each(tools: Iterable[Tool]) -> tuple[dict[Tool, Cost], list[str]]:
    """What each costs, and why others don't run here."""
    costs, notes = {}, []
    for tool in tools:
        try:
            cost = measure(tool)
        except ToolError as error:
            notes.append(f"{tool.name} does not run here: {error}"[:100])
            continue
        costs[tool] = cost
        print(f"{tool.name}: {cost.workload + cost.tracer:,.0f}", file=sys.stderr, flush=True)
    return costs, notes


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """As the distribution has them installed."""
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *packages]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return dict(line.split() for line in said.splitlines() if line.count(" ") == 1)


def connect(times: int, port: int = PORT) -> float:
    """Connects so often; returns the instructions that each took."""
    with listening(port) as listener:
        for number in range(WARM_UP):
            connect_to(listener, number)
        before = on_cpu_ns(os.getpid())
        for number in range(times):
            connect_to(listener, number)
        return (on_cpu_ns(os.getpid()) - before) / times


def connect_untraced(times: int) -> float:
    """The same where nothing traces: the median of RUNS, after one that makes a guest warm."""
    costs = []
    for _ in range(1 + RUNS):
        await_no_time_wait()
        costs.append(connect(times))
    return median(costs[1:])


def measure(tool: Tool) -> Cost:
    """Connects while the tool traces, and waits until it has nothing more to tell.

    Raises:
        ToolError: it does not trace.
    """
    await_no_time_wait()
    with tracing(tool.command, tool.ready, READY_S, lambda: connect(1)) as tracer:
        pid = tracer.process.pid
        use = _Use(pid)
        await_no_time_wait()
        if tool.takes_snapshots:
            use.after_snapshot()
        idle = use.learn_idle(IDLE_S)
        later = {}
        if tool.takes_snapshots:
            later["a snapshot, no socket"] = use.after_snapshot()
        use.until(0)
        workload = connect(CONNECTIONS)
        number = CONNECTIONS + WARM_UP
        told = use.until(use.age_s + TOLD_S) / number
        resident = resident_kb(pid)
        if tool.takes_snapshots:
            later["a snapshot, a socket in TIME_WAIT"] = use.after_snapshot() / number
        if tool.is_ours:
            await_no_time_wait()
            later["TIME_WAIT's end, a connection"] = use.until(use.age_s + LATE_S) / number
        lost = lost_by_metrics() if tool.ready == SERVING else 0
        tracer.end()
        return Cost(workload, told, resident, lost + lost_by(tracer), idle, later)


def lost_by_metrics() -> int:
    """What `tcptrace serve` says that it lost."""
    with urllib.request.urlopen(METRICS) as answer:
        told = re.search(rb"^tcptrace_events_lost_total (\S+)$", answer.read(), re.MULTILINE)
    assert told
    return int(float(told[1]))


class _Use:
    """What a process takes of the CPU.

    Args:
        pid: its number; it has just got ready.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began_s = self._at_s = time.monotonic()
        self._used_ns = on_cpu_ns(pid)
        self._idle = 0.0

    @property
    def age_s(self) -> float:
        """For how long it has been ready."""
        return time.monotonic() - self._began_s

    def learn_idle(self, seconds: float) -> float:
        """How much it takes in a second in which nothing is asked of it."""
        self.until(0)  # what has been until now is no part of it
        self._idle = self.until(self.age_s + seconds) / seconds
        return self._idle

    def after_snapshot(self) -> float:
        """How much it has taken until a snapshot's end."""
        periods = self.age_s // SNAPSHOT_PERIOD_S + 1
        return self.until(periods * SNAPSHOT_PERIOD_S + LATE_S)

    def until(self, age_s: float) -> float:
        """How much it has taken since the last question until then, but for idling, ns."""
        time.sleep(max(0.0, age_s - self.age_s))
        before_s, before_ns = self._at_s, self._used_ns
        self._at_s, self._used_ns = time.monotonic(), on_cpu_ns(self._pid)
        return self._used_ns - before_ns - self._idle * (self._at_s - before_s)


def await_no_time_wait() -> None:
    """Waits until no socket is in TIME_WAIT any more."""
    while "tw 0 " not in Path("/proc/net/sockstat").read_text(encoding="ascii"):
        time.sleep(1)


def on_cpu_ns(pid: int) -> int:
    """Time that a process's threads have been on the CPU, up to now: clock_getcpuclockid(3)."""
    return time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)


if __name__ == "__main__":
    sys.exit(main())
