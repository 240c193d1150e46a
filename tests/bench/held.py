"""How many events a second each tracer holds without a loss; needs root.

nginx serves, ab connects as fast as the kernel lets them, one connection for each request, while
the tool traces. On loopback each connection has two ends; of each its last change of state, to
CLOSE, must be told.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .loopback import connect_a_few
from .results import MORE, NEITHER, Column, Table, add_json_option, emit
from .tracer import ToolError, lost_by, read, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = 2000
AT_ONCE = 8
PORT = 8181
READY_S = 240.0
CALM_S = 5.0
"""Without a new line for so long, a tool has told all that it will."""
_TRANSITIONS = 10
"""That a connection on loopback makes: five at each end."""
_NGINX = """
daemon off;
worker_processes 1;
error_log stderr;
pid {home}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{ listen 127.0.0.1:{port} backlog=512; return 200 "hello\\n"; }}
}}
"""


class Tool(NamedTuple):
    """A tracer.

    Attributes:
        name: for people.
        command: its command line.
        told: finds what its output has once for each end of a connection that it has told wholly.
        ready: what its output or its errors have when it traces.
    """

    name: str
    command: tuple[str, ...]
    told: bytes
    ready: bytes


_JSON = (sys.executable, "-m", "tcptrace.cli.main", "port", str(PORT), "--json")
TOOLS = (
    Tool("tcptrace port --json", _JSON, b'"partial":false', b"tracing "),
    Tool(
        "tcptrace port --json --attach kprobe",
        (*_JSON, "--attach", "kprobe"),
        b'"partial":false',
        b"tracing ",
    ),
    Tool("tcpstates-bpfcc", ("tcpstates-bpfcc",), b"^.* %d .*-> CLOSE " % PORT, b"OLDSTATE"),
)


class Held(NamedTuple):
    """What one tool held."""

    seconds: float
    ends: int
    """Ends of connections that the kernel had."""
    told: int
    lost: int
    """Events, by the tool's own count."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.held")
    add_json_option(parser)
    file = parser.parse_args().json
    columns = [
        Column("events/s", better=NEITHER),
        Column("ends", better=NEITHER),
        Column("told whole", "%", better=MORE),
        Column("lost"),
    ]
    table = Table("", "tool", columns)
    with nginx():
        for tool in TOOLS:
            try:
                held = measure(tool)
            except ToolError as error:
                table.notes.append(f"{tool.name} does not run on this kernel: {error}"[:100])
                continue
            rate = held.ends * _TRANSITIONS / 2 / held.seconds
            table.add(tool.name, rate, held.ends, 100 * held.told / held.ends, held.lost)
    emit([table], file)
    return 0


@contextmanager
def nginx() -> Iterator[None]:
    """A server that answers at once, and closes."""
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        configuration = Path(home, "nginx.conf")
        configuration.write_text(_NGINX.format(home=home, port=PORT), encoding="ascii")
        with subprocess.Popen(["nginx", "-p", home, "-c", str(configuration)]) as server:
            while not Path(home, "pid").exists():
                time.sleep(0.1)
            yield
            server.terminate()


def measure(tool: Tool) -> Held:
    """Connects REQUESTS times while the tool traces.

    Raises:
        ToolError: it does not trace.
    """
    with tracing(tool.command, tool.ready, READY_S, lambda: connect_a_few(PORT + 1)) as tracer:
        before = _active_opens()
        begin = time.monotonic()
        url = f"http://127.0.0.1:{PORT}/"
        subprocess.run(
            ["ab", "-q", "-n", str(REQUESTS), "-c", str(AT_ONCE), url],
            check=True,
            capture_output=True,
        )
        seconds = time.monotonic() - begin
        ends = 2 * (_active_opens() - before)
        size = -1
        while size != (size := os.fstat(tracer.output.fileno()).st_size):
            time.sleep(CALM_S)
        tracer.end()
        told = len(re.findall(tool.told, read(tracer.output), re.MULTILINE))
        return Held(seconds, ends, told, lost_by(tracer))


def _active_opens() -> int:
    lines = Path("/proc/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("ActiveOpens")])


if __name__ == "__main__":
    sys.exit(main())
