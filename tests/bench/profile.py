"""Where userland's time goes, by module: py-spy looks at a process a thousand times a second.

What a library or the interpreter does is put down to the module of tcptrace that called it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.wire import columns
from tcptrace.wire.layout import RECORD_SIZE

from .results import NEITHER, Column, Table, add_json_option, emit
from .stream import connections, lives
from .userland import CONNECTIONS, FilledRing, as_json, as_lines, served, traced

if TYPE_CHECKING:
    from collections.abc import Callable


class Case(NamedTuple):
    """A command, and what it is told."""

    stream: Callable[[int], bytes]
    run: Callable[[FilledRing], None]


CASES: Final = {
    "serve": Case(connections, served),
    "port": Case(lives, lambda ring: traced(ring, as_lines)),
    "port --json": Case(lives, lambda ring: traced(ring, as_json, columns)),
}
LASTS_S: Final = 10.0
RATE: Final = 1000
SHOWN: Final = 12
_BEGIN: Final = re.compile(r"^(served|traced) \(")
_FRAME: Final = re.compile(r" \((tcptrace/.*)\.py:\d+\)$")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile")
    parser.add_argument("--in-this-process", choices=CASES, help=argparse.SUPPRESS)
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        print(repeat(CASES[arguments.in_this_process]))
        return 0
    emit((profile(case) for case in CASES), arguments.json)
    return 0


def repeat(case: Case) -> float:
    """Runs for a while; returns what each event took, ns."""
    stream = case.stream(CONNECTIONS)
    ring = FilledRing(stream)
    begin, runs = time.process_time(), 0
    while (used := time.process_time() - begin) < LASTS_S:
        case.run(ring)
        runs += 1
    return used * 1e9 / (runs * len(stream) // RECORD_SIZE)


def profile(case: str) -> Table:
    """What share of a command's time each module has."""
    itself = [sys.executable, "-m", "tests.bench.profile", "--in-this-process", case]
    with tempfile.NamedTemporaryFile(prefix="profile-") as stacks:
        watched = ["py-spy", "record", "--format", "raw", "--rate", str(RATE), "--output"]
        path = Path(sys.executable).with_name(watched[0])
        command = [str(path), *watched[1:], stacks.name, "--", *itself]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = by_module(Path(stacks.name).read_text(encoding="utf-8"))
    event_ns = float(next(line for line in told.splitlines() if line.replace(".", "").isdigit()))
    total = found.total()
    columns = [Column("share", "%", NEITHER), Column("an event", "ns", NEITHER)]
    table = Table(case, "module", columns)
    for name, samples in found.most_common(SHOWN):
        table.add(name, 100 * samples / total, event_ns * samples / total)
    rest = total - sum(samples for _, samples in found.most_common(SHOWN))
    table.add("all others", 100 * rest / total, event_ns * rest / total)
    return table


def by_module(stacks: str) -> Counter[str]:
    """Samples by the innermost module of tcptrace, of what is measured."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        begin = next((at for at, frame in enumerate(frames) if _BEGIN.match(frame)), None)
        if begin is None:
            continue
        ours = [match for frame in frames[begin:] if (match := _FRAME.search(frame))]
        name = ours[-1][1].replace("/", ".") if ours else "the bench itself"
        found[name] += int(samples)
    return found


if __name__ == "__main__":
    sys.exit(main())
