"""How long commands take that need no kernel: `--help` of each, and a replay of a recording."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

from .results import Column, Table, add_json_option, emit

ROUNDS = 11
CHECKOUT = Path(__file__).resolve().parents[2]
RECORDING = "tests/data/demo-6.12.tcptrace"
COMMANDS = ("port", "listeners", "serve", "record", "replay", "verify", "doctor")
LINES = {
    "tcptrace --version": ["--version"],
    **{f"tcptrace {command} --help": [command, "--help"] for command in COMMANDS},
    f"tcptrace replay {Path(RECORDING).name}": ["replay", "--speed", "max", RECORDING],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.start")
    add_json_option(parser)
    file = parser.parse_args().json
    columns = [Column("took", "s"), Column("on the CPU", "s"), Column("modules")]
    table = Table("", "command", columns)
    empty = [sys.executable, "-c", "pass"]
    table.add("python -c pass", *zip(*(_run(empty) for _ in range(ROUNDS)), strict=True), None)
    for name, arguments in LINES.items():
        command = [sys.executable, "-m", "tcptrace.cli.main", *arguments]
        took, used = zip(*(_run(command) for _ in range(ROUNDS)), strict=True)
        table.add(name, took, used, _modules(command))
    emit([table], file)
    return 0


def _run(command: list[str]) -> tuple[float, float]:
    """Seconds: that passed, and on the CPU."""
    before = _used_s()
    begin = time.perf_counter()
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    return time.perf_counter() - begin, _used_s() - before


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
