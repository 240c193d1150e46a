"""What a tracer that does nothing keeps in memory, and of what that is made; needs root.

Each command traces, rests, takes CONNECTIONS connections and rests again, ROUNDS times. What is
resident is told by what it is a part of: the kernel's own count, mapping by mapping
(/proc/PID/smaps).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from .instructions import TOOLS, Tool, await_no_time_wait, connect
from .results import Column, Table, add_json_option, emit
from .tracer import ToolError, tracing

CONNECTIONS: Final = 1500
ROUNDS: Final = 3
READY_S: Final = 300.0
REST_S: Final = 4.0
KB_A_MB: Final = 1024
OWN, SHARED, FILES = KINDS = ("its own memory", "shared with the probes", "files")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.resident")
    parser.add_argument(
        "--files", type=int, default=0, metavar="N", help="name the N largest files"
    )
    add_json_option(parser)
    arguments = parser.parse_args()
    table = Table("", "tool", [Column(name, "MB") for name in ("in all", *KINDS)])
    for tool in TOOLS:
        if tool.name in ("tcptrace serve", "tcptrace port --json"):
            _add(tool, table, arguments.files)
    emit([table], arguments.json)
    return 0


def _add(tool: Tool, table: Table, files: int) -> None:
    """Adds what a tool holds when it has begun, and after some connections."""
    try:
        rounds = [measure(tool, files) for _ in range(ROUNDS)]
    except ToolError as error:
        table.notes.append(f"{tool.name} does not trace: {error}")
        return
    whens = ("idle", f"after {CONNECTIONS:,} connections")
    for when, found in zip(whens, zip(*rounds, strict=True), strict=True):
        table.add(f"{tool.name}, {when}", *zip(*found, strict=True))


def measure(tool: Tool, files: int) -> tuple[list[float], list[float]]:
    """What a tool holds when it has begun, and after some connections: in all and by kind, MB.

    Raises:
        ToolError: it does not trace.
    """
    # The last round's sockets would be found by a snapshot, and kept as lives.
    await_no_time_wait()
    with tracing(tool.command, tool.ready, READY_S) as tracer:
        time.sleep(REST_S)
        idle = _resident_mb(tracer.process.pid, files)
        connect(CONNECTIONS)
        time.sleep(REST_S)
        return idle, _resident_mb(tracer.process.pid, files)


def _resident_mb(pid: int, files: int) -> list[float]:
    found = resident_by_mapping(pid)
    kinds: Counter[str] = Counter()
    for mapped, size in found.items():
        kinds[_kind_of(mapped)] += size
    for mapped, size in found.most_common(files):
        print(f"    {size:8,} kB  {mapped}", flush=True)
    return [size / KB_A_MB for size in (found.total(), *(kinds[one] for one in KINDS))]


def resident_by_mapping(pid: int) -> Counter[str]:
    """What is resident of a process, by the name of what is mapped."""
    found: Counter[str] = Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else "anonymous"
        elif words[0] == "Rss:":
            found[name] += int(words[1])
    return found


def _kind_of(name: str) -> str:
    if name in ("anonymous", "[heap]", "[stack]"):
        return OWN
    if "bpf" in name:
        return SHARED
    return FILES


if __name__ == "__main__":
    sys.exit(main())
