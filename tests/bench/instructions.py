"""What tracing costs a connection, in instructions; needs root, in a guest run with --icount.

There one CPU's clock counts instructions, so that the figure repeats within a fraction of a percent
whatever the machine does. One process connects to itself, accepts and closes, again and again, on
loopback: both ends are traced. What is counted is the time on the CPU of that process, in which the
probes run, and of the tracer, until it has told of all connections.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Final, NamedTuple

from .loopback import connect_to, listening
from .results import INSTRUCTIONS, Column, Table, add_json_option, emit
from .tracer import ToolError, lost_by, resident_kb, tracing

if TYPE_CHECKING:
    from collections.abc import Iterable

PORT: Final = 8282
WARM_UP: Final = 100
CONNECTIONS: Final = 1500
READY_S: Final = 600.0
CALM_S: Final = 4.0
"""Without more time on the CPU than an idle tracer's, it has told all that it will."""
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
    """

    name: str
    command: tuple[str, ...]
    ready: bytes


TOOLS: Final = (
    Tool("tcptrace serve", (*_TCPTRACE, "serve"), SERVING),
    Tool("tcptrace port", (*_TCPTRACE, "port", str(PORT)), b"tracing "),
    Tool("tcptrace port --json", (*_TCPTRACE, "port", str(PORT), "--json"), b"tracing "),
    Tool("tcptrace port, of another port", (*_TCPTRACE, "port", "1"), b"tracing "),
    Tool("tcptrace serve --attach kprobe", (*_TCPTRACE, "serve", "--attach", "kprobe"), SERVING),
    Tool("libbpf-tools tcplife (C)", ("tcplife",), b"LADDR"),
    Tool("libbpf-tools tcpstates (C)", ("tcpstates",), b"OLDSTATE"),
    Tool("bcc tcplife", ("tcplife-bpfcc",), b"LADDR"),
    Tool("bcc tcpstates", ("tcpstates-bpfcc",), b"OLDSTATE"),
)


class Cost(NamedTuple):
    """Instructions a connection.

    Attributes:
        workload: of the process that connects, probes included.
        tracer: of the tracer's processes.
        resident_kb: of the tracer, afterwards.
        lost: events, by its own count.
    """

    workload: float
    tracer: float = 0.0
    resident_kb: int = 0
    lost: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions")
    parser.add_argument("only", nargs="*", metavar="WORD", help="tools whose names have this")
    add_json_option(parser)
    arguments = parser.parse_args()
    only = arguments.only
    chosen = [tool for tool in TOOLS if not only or any(word in tool.name for word in only)]
    untraced = connect(CONNECTIONS)
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
        notes=[f"Without a tracer: {untraced:,.0f} instructions a connection."],
    )
    for tool in chosen:
        try:
            cost = measure(tool)
        except ToolError as error:
            table.notes.append(f"{tool.name} does not run here: {error}"[:100])
            continue
        probes = cost.workload - untraced
        table.add(
            tool.name, probes + cost.tracer, probes, cost.tracer, cost.resident_kb / 1024, cost.lost
        )
        print(f"{tool.name}: {probes + cost.tracer:+,.0f}", file=sys.stderr, flush=True)
    table.notes += [f"{name} {version}." for name, version in versions_of(PEERS).items()]
    emit([table], arguments.json)
    return 0


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """As the distribution has them installed."""
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *packages]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return dict(line.split() for line in said.splitlines() if line.count(" ") == 1)


def connect(times: int, port: int = PORT) -> float:
    """Connects so often; returns the instructions that each took."""
    with listening(port) as listener:
        for _ in range(WARM_UP):
            connect_to(listener)
        before = on_cpu_ns(os.getpid())
        for _ in range(times):
            connect_to(listener)
        return (on_cpu_ns(os.getpid()) - before) / times


def measure(tool: Tool) -> Cost:
    """Connects while the tool traces, and waits until it has nothing more to tell.

    Raises:
        ToolError: it does not trace.
    """
    with tracing(tool.command, tool.ready, READY_S, lambda: connect(1)) as tracer:
        pid = tracer.process.pid
        idle_ns = _settle(pid)
        before_ns, before_s = on_cpu_ns(pid), time.monotonic()
        workload = connect(CONNECTIONS)
        _settle(pid, idle_ns)
        used_ns = on_cpu_ns(pid) - before_ns
        used_ns -= int((time.monotonic() - before_s) * idle_ns)
        each = used_ns / (CONNECTIONS + WARM_UP)
        resident = resident_kb(pid)
        lost = lost_by_metrics() if tool.ready == SERVING else 0
        tracer.end()
        return Cost(workload, each, resident, lost + lost_by(tracer))


def lost_by_metrics() -> int:
    """What `tcptrace serve` says that it lost."""
    with urllib.request.urlopen(METRICS) as answer:
        told = re.search(rb"^tcptrace_events_lost_total (\S+)$", answer.read(), re.MULTILINE)
    assert told
    return int(float(told[1]))


def _settle(pid: int, idle_ns: float | None = None) -> float:
    """Waits until a process does no more than when it is idle; returns the ns a second of that."""
    last = None
    while True:
        before = on_cpu_ns(pid)
        time.sleep(CALM_S)
        now = (on_cpu_ns(pid) - before) / CALM_S
        if idle_ns is not None and now < 1.5 * idle_ns + 1e6:
            return now
        if idle_ns is None and last is not None and now < 1.2 * last + 1e6:
            return min(now, last)
        last = now


def on_cpu_ns(pid: int) -> int:
    """Time that a process's threads have been on the CPU, up to now: clock_getcpuclockid(3)."""
    return time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)


if __name__ == "__main__":
    sys.exit(main())
