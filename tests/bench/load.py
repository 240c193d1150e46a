"""Events that a tracer takes, and those that it loses, by connections a second.

Needs root, and a guest run with --icount: there a second is 1,000 million instructions of the one
CPU, whatever the machine does, and load and tracer share them.

A client connects to a listener of its own, so many times a second for SECONDS, while the tool
traces; then the tool may rest until it has told of all, and the next rate follows.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

from .loopback import connect_a_few, connect_to, listening
from .results import MORE, NEITHER, Column, Table, add_json_option, emit
from .tracer import ToolError, Tracer, lost_by, read, tracing

if TYPE_CHECKING:
    from collections.abc import Callable

RATES = (250, 500, 1000, 2000, 4000, 8000)
SECONDS = 3.0
READY_S = 300.0
CALM_S = 2.0
PORT = 8383
_SERVE = (sys.executable, "-m", "tcptrace.cli.main", "serve")
_METRICS = "http://127.0.0.1:9436/metrics"


class Told(NamedTuple):
    """Of a tool, since it began."""

    events: int
    lost: int


def _told_by_metrics(_tracer: Tracer) -> Told:
    with urllib.request.urlopen(_METRICS) as answer:
        text = answer.read().decode()
    events = re.findall(r"^tcptrace_events_total{.*} (\S+)$", text, re.MULTILINE)
    lost = re.findall(r"^tcptrace_events_lost_total (\S+)$", text, re.MULTILINE)
    return Told(int(sum(map(float, events))), int(sum(map(float, lost))))


def _told_by_lines(tracer: Tracer) -> Told:
    return Told(read(tracer.output).count(b"\n"), lost_by(tracer))


class Tool(NamedTuple):
    """A tracer.

    Attributes:
        name: for people.
        command: its command line.
        ready: what its output or its errors have when it traces.
        told: how to know what it has told.
    """

    name: str
    command: tuple[str, ...]
    ready: bytes
    told: Callable[[Tracer], Told]


TOOLS = (
    Tool("tcptrace serve", _SERVE, b"serving", _told_by_metrics),
    Tool("tcpstates-bpfcc", ("tcpstates-bpfcc",), b"OLDSTATE", _told_by_lines),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load")
    add_json_option(parser)
    file = parser.parse_args().json
    columns = [
        Column("made", "connections/s", NEITHER),
        Column("told", "events/s", MORE),
        Column("lost", "%"),
    ]
    tables = []
    for tool in TOOLS:
        table = Table(tool.name, "asked", columns, growth="connections/s")
        measure(tool, table)
        tables.append(table)
    emit(tables, file)
    return 0


def measure(tool: Tool, table: Table) -> None:
    """Adds a row for each rate."""
    try:
        with tracing(tool.command, tool.ready, READY_S, lambda: connect_a_few(PORT)) as tracer:
            _measure(tool, table, tracer)
    except ToolError as error:
        table.notes.append(f"{tool.name} does not run here: {error}"[:100])


def _measure(tool: Tool, table: Table, tracer: Tracer) -> None:
    for number, rate in enumerate(RATES, start=1):
        before = _settled(tool, tracer)
        begin = time.monotonic()
        made = connect(rate, SECONDS, PORT + number)
        seconds = time.monotonic() - begin
        at_end = tool.told(tracer)
        until = time.monotonic() - begin
        after = _settled(tool, tracer)
        lost = after.lost - before.lost
        share = 100 * lost / max(1, lost + after.events - before.events)
        told = (at_end.events - before.events) / until
        table.add(f"{rate:,}", made / seconds, told, share)
        print(f"{tool.name}, {rate:,}/s: {share:.1f} % lost", file=sys.stderr, flush=True)


def connect(rate: int, seconds: float, port: int) -> int:
    """Connects so often a second, or as often as can be; returns how often in all."""
    made = 0
    # Each rate has a port of its own: TIME_WAIT makes the clients' scarce.
    with listening(port) as listener:
        begin = time.monotonic()
        while (now := time.monotonic() - begin) < seconds:
            if made / rate > now:
                time.sleep(made / rate - now)
            connect_to(listener)
            made += 1
    return made


def _settled(tool: Tool, tracer: Tracer) -> Told:
    """What it has told once it tells little more."""
    told = tool.told(tracer)
    while True:
        time.sleep(CALM_S)
        before, told = told, tool.told(tracer)
        if told.events - before.events < 50 and told.lost == before.lost:
            return told


if __name__ == "__main__":
    sys.exit(main())
