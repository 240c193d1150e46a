"""What open lives take in memory, and what they make events cost; natively.

Each number of open lives is a process of its own, PROCESSES times, in turn with the others. There
as many are opened, and rest; both ends of each connection are lives, established. Then whole
connections begin and end beside them; and at last any of them end while new ones begin. Time on the
CPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.stopping import Limits, Stop
from tcptrace.watching import Watch
from tcptrace.wire.layout import RECORD_SIZE

from .host import REST, Host, in_batches
from .results import Column, Table, add_json_option, emit
from .stream import AT_ONCE, BEGAN_NS, EACH_NS, opened, replaced, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS: Final = (1_000, 10_000, 100_000, 1_000_000)
FEW: Final = 10_000
"""Among fewer, what else grows would be more than they are."""
EACH: Final = 10_000
"""Connections of each round."""
ROUNDS: Final = 5
PROCESSES: Final = 3
"""Where the kernel puts memory, and who else uses the machine, differs from one to the next."""


TIMED: Final = ("beside", "theirs")
"""What a process has times of, by its rounds."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lives")
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help="open lives")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        print(json.dumps(measure(*arguments.numbers)))
        return 0
    columns = [
        Column("an event beside them", "µs"),
        Column("an event of theirs", "µs"),
        Column("resident", "MB"),
        Column("a life", "bytes"),
    ]
    table = Table("", "open lives", columns, growth="open lives")
    numbers = arguments.numbers or NUMBERS
    told: dict[int, list[Any]] = {number: [] for number in numbers}
    for number in PROCESSES * [*numbers]:
        command = [sys.executable, "-m", "tests.bench.lives", "--in-this-process", str(number)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        told[number].append(json.loads(done.stdout))
    for number, each in told.items():
        beside, theirs = (list(chain(*(one[which] for one in each))) for which in TIMED)
        sizes = [one["resident_kb"] / 1024 for one in each]
        a_life = [one["grown_kb"] * 1024 / number for one in each] if number >= FEW else None
        table.add(f"{number:,}", beside, theirs, sizes, a_life)
    emit([table], arguments.json)
    return 0


def measure(lives: int) -> dict[str, object]:
    """Of a process in which so many lives are open: memory, and what events take, µs."""
    connections = lives // 2
    beside: list[float] = []
    theirs: list[float] = []
    sizes: list[int] = []

    def upcoming(count: int) -> range:
        """Numbers of connections that begin from now on."""
        first = (host.now_ns() - BEGAN_NS) // EACH_NS + AT_ONCE
        return range(first, first + count)

    def batches() -> Iterator[bytes]:
        # What is needed once is there before the lives.
        yield from in_batches(whole(upcoming(EACH)))
        yield from (REST for _ in range(1000))
        sizes.append(_resident_kb())
        among = list(numbers := upcoming(connections))
        yield from in_batches(opened(numbers))
        yield from (REST for _ in range(1000 + lives // 50))
        sizes.append(_resident_kb())
        for _ in range(ROUNDS):
            yield from _timed(list(in_batches(whole(upcoming(EACH)))), beside)
        for _ in range(ROUNDS):
            yield from _timed(list(in_batches(replaced(upcoming(EACH), among))), theirs)

    host = Host(1, batches())
    watch = Watch(host, new_tally(), 100, 2 * lives + 2 * EACH)
    stop = Stop(Limits())

    def tick() -> None:
        stop.asked = len(theirs) == ROUNDS

    watch.run(stop, tick)
    assert lives <= watch.tracker.open_count <= lives + 10
    grown_kb = sizes[1] - sizes[0]
    return {"beside": beside, "theirs": theirs, "resident_kb": sizes[1], "grown_kb": grown_kb}


def _timed(batches: list[bytes], took: list[float]) -> Iterator[bytes]:
    """Hands batches out, and adds what each of their events took, µs."""
    begin = time.process_time()
    yield from batches
    took.append((time.process_time() - begin) * 1e6 * RECORD_SIZE / sum(map(len, batches)))


def _resident_kb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


if __name__ == "__main__":
    sys.exit(main())
