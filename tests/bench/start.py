"""How long commands take to begin, natively.

Those that need no kernel, to their end: `--help` of each, and a replay of a recording. Those that
trace, up to the first probe that they would attach; as root.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from .installed import CHECKOUT, compile_package
from .results import Column, Table, add_json_option, emit

ROUNDS = 11
RECORDING = "tests/data/demo-6.12.tcptrace"
COMMANDS = ("port", "listeners", "serve", "record", "replay", "verify", "doctor")
LINES = {
    "tcptrace --version": ["--version"],
    **{f"tcptrace {command} --help": [command, "--help"] for command in COMMANDS},
    f"tcptrace replay {Path(RECORDING).name}": ["replay", "--speed", "max", RECORDING],
}
TRACES = {
    "tcptrace port": ["port", "80", "--attach", "fentry"],
    "tcptrace port --attach kprobe": ["port", "80", "--attach", "kprobe"],
    "tcptrace serve": ["serve", "--listen", "127.0.0.1:0", "--attach", "fentry"],
}
UP_TO_THE_ATTACHING = """\
import os
from tcptrace.kernel import loader

def attach_one(*_):
    os._exit(0)

loader.attach_one = attach_one
from tcptrace.cli.main import main
main()
"""
CANNOT_TRACE = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.start")
    add_json_option(parser)
    file = parser.parse_args().json
    compile_package()
    columns = [Column("took", "s"), Column("on the CPU", "s"), Column("modules")]
    table = Table("", "command", columns)
    empty = [sys.executable, "-c", "pass"]
    table.add("python -c pass", *zip(*(_run(empty) for _ in range(ROUNDS)), strict=True), None)
    for name, arguments in LINES.items():
        command = [sys.executable, "-m", "tcptrace.cli.main", *arguments]
        took, used = zip(*(_run(command) for _ in range(ROUNDS)), strict=True)
        table.add(name, took, used, _modules(command))
    tracing = Table("Up to the attaching", "command", columns[:2])
    if os.geteuid() != 0:
        tracing.notes.append("Not measured: that takes root.")
    else:
        _measure_traces(tracing)
    emit([table, tracing], file)
    return 0


def _measure_traces(table: Table) -> None:
    for name, arguments in TRACES.items():
        command = [sys.executable, "-c", UP_TO_THE_ATTACHING, *arguments]
        runs = (_run(command, CANNOT_TRACE) for _ in range(ROUNDS))
        table.add(name, *zip(*runs, strict=True))


def _run(command: list[str], status: int = 0) -> tuple[float, float]:
    """Seconds: that passed, and on the CPU."""
    before = _used_s()
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True)
    took = time.perf_counter() - begin
    assert done.returncode == status, done.stderr.decode()
    return took, _used_s() - before


def _used_s() -> float:
    """By processes that we ran."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _modules(command: list[str]) -> int:
    """How many it imports."""
    told = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    return sum(line.startswith("import time:") for line in told.stderr.splitlines()) - 1


if __name__ == "__main__":
    sys.exit(main())
