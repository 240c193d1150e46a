"""What open lives take in memory, and what they make the events beside them cost; natively.

Each open life is a server's end that was accepted and then rests, or its client's in TIME_WAIT,
each with another address. Beside them whole connections begin and end: how long a record takes is
compared between few and many open lives, the best of ROUNDS.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.tracker import Tracker
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.layout import FIELDS, RECORD_SIZE

from .stream import connections, opened

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBERS: Final = (1_000, 100_000, 1_000_000)
ROUNDS: Final = 5
BESIDE: Final = 4_000
"""Whole connections in a round."""
_BATCH: Final = 4096
_KB: Final = 1024
_AT: Final = next(field.offset for field in FIELDS if field.name == "at_ns")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lives")
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help="open lives")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        (number,) = arguments.numbers
        print(*measure(number))
        return 0
    base = 0.0
    print(f"{'open lives':>12}{'bytes a life':>14}{'µs a record':>14}{'ratio':>8}", flush=True)
    for number in arguments.numbers or NUMBERS:
        command = [sys.executable, "-m", "tests.bench.lives", "--in-this-process", str(number)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        size, cost = map(float, told)
        base = base or cost
        print(f"{number:12,}{size:14,.0f}{cost:14.2f}{cost / base:8.2f}", flush=True)
    return 0


def measure(number: int) -> tuple[float, float]:
    """Returns bytes an open life, and µs a record beside so many."""
    tracker = Tracker(_ignore, _ignore, new_tally(), 2_000_000)
    _feed(tracker, _batches(connections(BESIDE)))
    gc.freeze()  # as `watching` does
    gc.set_threshold(50_000, 20, 1_000)
    before = _resident_kb()
    now_ns = _feed(tracker, opened(number, _BATCH))
    for _ in range(number // 100 + 100):  # ticks in which nothing happens
        now_ns += 100_000_000
        tracker.advance(now_ns)
    size = (_resident_kb() - before) * _KB / number
    best = float("inf")
    for round_ in range(ROUNDS):
        first = now_ns // 1_000_000 + round_ * BESIDE
        batches = list(_batches(connections(BESIDE, first)))
        begin = time.perf_counter()
        _feed(tracker, batches)
        best = min(best, time.perf_counter() - begin)
    assert tracker.open_count == number + (ROUNDS + 1) * BESIDE  # in TIME_WAIT
    return size, best / sum(map(len, batches)) * RECORD_SIZE * 1e6


def _feed(tracker: Tracker, batches: Iterable[bytes]) -> int:
    """Returns the time of the last record."""
    now_ns = 0
    for batch in batches:
        tracker.feed(decode_batch(batch))
        at = len(batch) - RECORD_SIZE + _AT
        now_ns = int.from_bytes(batch[at : at + 8], "little")
        tracker.advance(now_ns)
    return now_ns


def _batches(stream: bytes) -> Iterable[bytes]:
    size = _BATCH * RECORD_SIZE
    return (stream[at : at + size] for at in range(0, len(stream), size))


def _resident_kb() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def _ignore(_connection: object) -> None:
    """Nobody keeps them."""


if __name__ == "__main__":
    sys.exit(main())
