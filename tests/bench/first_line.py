"""How long a tracer takes from its command to its first line, and its memory then; needs root.

Runs each tool in turn, ROUNDS times, while a client connects 20 times a second to a listener of
ours.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

PORT = 8081
ROUNDS = 3
TCPTRACE = [sys.executable, "-m", "tcptrace.cli.main", "port", str(PORT)]
TOOLS = {
    "tcptrace port": TCPTRACE,
    "tcptrace port --attach kprobe": [*TCPTRACE, "--attach", "kprobe"],
    "tcpstates-bpfcc": ["tcpstates-bpfcc", "-L", str(PORT)],
}


class Figures(NamedTuple):
    first_line_s: float
    resident_kb: int


def main() -> int:
    stop = threading.Event()
    threading.Thread(target=connect_until, args=(stop,), daemon=True).start()
    figures = {name: [measure(command) for _ in range(ROUNDS)] for name, command in TOOLS.items()}
    stop.set()
    base = statistics.median(figure.first_line_s for figure in figures["tcpstates-bpfcc"])
    print(f"{'tool':32}{'first line':>12}{'ratio':>8}{'resident':>12}")
    for name, measured in figures.items():
        first = statistics.median(figure.first_line_s for figure in measured)
        resident = statistics.median(figure.resident_kb for figure in measured)
        print(f"{name:32}{first:10.1f} s{first / base:8.2f}{resident / 1024:9.1f} MB")
    return 0


def connect_until(stop: threading.Event) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", PORT))
        listener.listen(16)
        while not stop.wait(0.05):
            with socket.create_connection(("127.0.0.1", PORT)):
                listener.accept()[0].close()


def measure(command: list[str]) -> Figures:
    """Waits for the first line that tells of a connection: one that names the port."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tool:
        assert tool.stdout is not None
        for line in tool.stdout:
            if str(PORT).encode() in line:
                break
        else:
            sys.exit(f"bench: {command[0]} ended without a line")
        elapsed = time.monotonic() - begin
        status = Path(f"/proc/{tool.pid}/status").read_text(encoding="ascii")
        tool.kill()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return Figures(elapsed, int(resident.split()[1]))


if __name__ == "__main__":
    sys.exit(main())
