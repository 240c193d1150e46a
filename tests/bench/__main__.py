"""`make bench`: what tracing costs, as ratios against bcc's tcpstates and as userland rates.

In a guest (tests/vm/run), one after the other in the same boot: the time from the command to its
first line, and resident memory while it traces; and events a second that are held without a loss.
Natively: records a second from bytes to lives, and time and size of one scrape.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcptrace.lifecycle.tracker import Tracker
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.layout import RECORD_SIZE

from .scrape import LISTENERS, SOCKETS, report
from .stream import connections

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection

CHECKOUT = Path(__file__).resolve().parents[2]
CONNECTIONS = 20_000
BATCH_RECORDS = 4096
ROUNDS = 5
_IN_GUESTS = {
    "command to first line, and memory": "tests.bench.first_line",
    "as many connections as it can make, and what is told of them": "tests.bench.held",
}


def main() -> int:
    kernels = sys.argv[1:] or ["6.1", "6.12"]
    print("Userland, natively: bytes → records → lives\n", flush=True)
    print(userland())
    print(
        f"\nOne scrape, natively: {LISTENERS:,} listeners, {SOCKETS:,} open sockets\n", flush=True
    )
    print(report())
    status = 0
    for kernel in kernels:
        for title, module in _IN_GUESTS.items():
            print(f"\nGuest, kernel {kernel}: {title}\n", flush=True)
            command = ["tests/vm/run", "--progress", kernel, "python", "-m", module]
            status |= subprocess.run(command, cwd=CHECKOUT, check=False).returncode
    return status


def userland() -> str:
    stream = connections(CONNECTIONS)
    size = BATCH_RECORDS * RECORD_SIZE
    batches = [stream[at : at + size] for at in range(0, len(stream), size)]
    rates = []
    for _ in range(ROUNDS):
        ended: list[Connection] = []
        tracker = Tracker(lambda _connection: None, ended.append)
        begin = time.perf_counter()
        for batch in batches:
            tracker.feed(decode_batch(batch))
        elapsed = time.perf_counter() - begin
        tracker.finish(1 << 62)
        assert len(ended) == 2 * CONNECTIONS
        rates.append(len(stream) / RECORD_SIZE / elapsed)
    rates.sort()
    middle, low, high = rates[ROUNDS // 2], rates[0], rates[-1]
    return f"{middle:,.0f} records/s (median of {ROUNDS}; {low:,.0f} to {high:,.0f})"


if __name__ == "__main__":
    sys.exit(main())
