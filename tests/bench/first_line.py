"""How long a tracer takes from its command to its first line, and its memory then; needs root.

Runs each tool in turn, ROUNDS times, while a client connects 20 times a second to a listener of
ours.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

from .installed import compile_package
from .loopback import listening
from .results import Column, Table, add_json_option, emit
from .tracer import ToolError, resident_kb

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
    parser = argparse.ArgumentParser(prog="python -m tests.bench.first_line")
    add_json_option(parser)
    file = parser.parse_args().json
    compile_package()
    stop = threading.Event()
    threading.Thread(target=connect_until, args=(stop,), daemon=True).start()
    table = Table("", "tool", [Column("first line", "s"), Column("resident", "MB")])
    for name, command in TOOLS.items():
        try:
            measured = [measure(command) for _ in range(ROUNDS)]
        except ToolError as error:
            table.notes.append(f"{name} does not run on this kernel: {error}"[:100])
            continue
        table.add(
            name,
            [figure.first_line_s for figure in measured],
            [figure.resident_kb / 1024 for figure in measured],
        )
    stop.set()
    emit([table], file)
    return 0


def connect_until(stop: threading.Event) -> None:
    with listening(PORT) as listener:
        while not stop.wait(0.05):
            with socket.create_connection(("127.0.0.1", PORT)):
                listener.accept()[0].close()


def measure(command: list[str]) -> Figures:
    """Waits for the first line that tells of a connection: one that names the port.

    Raises:
        ToolError: there was none.
    """
    # Python buffers what it prints to a pipe, which would charge bcc's tools for a full buffer.
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    begin = time.monotonic()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment) as tool,
    ):
        assert tool.stdout is not None
        for line in tool.stdout:
            if str(PORT).encode() in line:
                break
        else:
            errors.seek(0)
            raise ToolError((errors.read().decode().splitlines() or ["no line"])[-1])
        elapsed = time.monotonic() - begin
        resident = resident_kb(tool.pid)
        tool.kill()
    return Figures(elapsed, resident)


if __name__ == "__main__":
    sys.exit(main())
