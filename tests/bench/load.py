"""Events that a tracer takes, and those that it loses, by connections a second.

Needs root, and a guest run with --icount: there a second is 1,000 million instructions of the one
CPU, whatever the machine does, and load and tracer share them.

A client connects to a listener of its own, so many times a second for SECONDS, while the tool
traces; then the tool may rest until it has told of all, and the next rate follows.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import IO, TYPE_CHECKING, NamedTuple

from .results import MORE, NEITHER, Column, Table, add_json_option, emit

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


def _told_by_metrics(_output: IO[bytes], _errors: IO[bytes]) -> Told:
    with urllib.request.urlopen(_METRICS) as answer:
        text = answer.read().decode()
    events = re.findall(r"^tcptrace_events_total{.*} (\S+)$", text, re.MULTILINE)
    lost = re.findall(r"^tcptrace_events_lost_total (\S+)$", text, re.MULTILINE)
    return Told(int(sum(map(float, events))), int(sum(map(float, lost))))


def _told_by_lines(output: IO[bytes], errors: IO[bytes]) -> Told:
    lost = re.findall(rb"lost (\d+) samples", _read(errors))
    return Told(_read(output).count(b"\n"), sum(map(int, lost)))


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
    told: Callable[[IO[bytes], IO[bytes]], Told]


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
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(tool.command, stdout=output, stderr=errors, env=environment) as process,
    ):
        deadline_s = time.monotonic() + READY_S
        while tool.ready not in _read(output) + _read(errors):
            if process.poll() is not None or time.monotonic() > deadline_s:
                process.kill()
                table.notes.append(f"{tool.name} does not run here.")
                return
            time.sleep(0.2)
        for rate in RATES:
            before = _settled(tool, output, errors)
            begin = time.monotonic()
            made = connect(rate, SECONDS)
            seconds = time.monotonic() - begin
            at_end = tool.told(output, errors)
            until = time.monotonic() - begin
            after = _settled(tool, output, errors)
            lost = after.lost - before.lost
            share = 100 * lost / max(1, lost + after.events - before.events)
            told = (at_end.events - before.events) / until
            table.add(f"{rate:,}", made / seconds, told, share)
        process.send_signal(signal.SIGINT)
        process.wait(120)


def connect(rate: int, seconds: float) -> int:
    """Connects so often a second, or as often as can be; returns how often in all."""
    made = 0
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", PORT))
        listener.listen(16)
        begin = time.monotonic()
        while (now := time.monotonic() - begin) < seconds:
            if made / rate > now:
                time.sleep(made / rate - now)
            client = socket.socket()
            client.connect(("127.0.0.1", PORT))
            server, _ = listener.accept()
            client.close()
            server.close()
            made += 1
    return made


def _settled(tool: Tool, output: IO[bytes], errors: IO[bytes]) -> Told:
    """What it has told once it tells little more."""
    told = tool.told(output, errors)
    while True:
        time.sleep(CALM_S)
        before, told = told, tool.told(output, errors)
        if told.events - before.events < 50 and told.lost == before.lost:
            return told


def _read(file: IO[bytes]) -> bytes:
    return os.pread(file.fileno(), 1 << 28, 0)


if __name__ == "__main__":
    sys.exit(main())
