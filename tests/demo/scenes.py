"""The demo's three scenes, live on the kernel that this runs on; needs root.

`python -m tests.demo.scenes [--record FILE]`: with --record it plays the second scene only, into a
recording.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TCPTRACE = [sys.executable, "-m", "tcptrace.cli.main"]
PEERS = [sys.executable, "-m", "tests.demo.peers"]
PATIENCE_S = 180


def free_port() -> int:
    """8080, or one that is free where somebody has that one."""
    for port in (8080, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
            return int(probe.getsockname()[1])
    raise AssertionError("no port is free")


PORT = free_port()


def main() -> int:
    if sys.argv[1:2] == ["--record"]:
        with tracing("record", "--port", str(PORT), "-o", sys.argv[2]):
            overflow()
        return 0
    say("1. One connection, its whole story on both ends", "port", str(PORT), "--timeline")
    with tracing("port", str(PORT), "--timeline", "--count", "2"), server(8, 0):
        clients(1)
    say(
        "2. A server with listen(2) that stalls for 2.5 s in its accept loop; 8 clients",
        "port",
        str(PORT),
    )
    with tracing("port", str(PORT)):
        waits = overflow()
    print(f"\nWhat the clients saw: connect() took {', '.join(sorted(waits))} s.")
    print("Waits of 1 s and more are SYNs that the full accept queue dropped, sent again.")
    listing = ["listeners", "--once", "--interval", "6s", str(PORT)]
    say("3. The same again, as its listener sees it", *listing)
    with server(2, 2.5), tracing(*listing):
        clients(8)
    return 0


def say(title: str, *command: str) -> None:
    print(f"\n── {title}\n$ tcptrace {' '.join(command)}", flush=True)


def overflow() -> list[str]:
    with server(2, 2.5):
        return clients(8)


@contextmanager
def tracing(*arguments: str) -> Iterator[None]:
    """Runs tcptrace on this terminal: from the moment it traces to its summary."""
    trace = subprocess.Popen([*TCPTRACE, *arguments], stderr=subprocess.PIPE, text=True)
    assert trace.stderr is not None
    begun = trace.stderr.readline()
    print(begun, end="", flush=True)
    if not begun.startswith("tracing"):
        sys.exit(f"demo: tcptrace did not begin: {trace.stderr.read()}")
    try:
        yield
    finally:
        if not {"--count", "--once"} & {*arguments}:
            trace.send_signal(signal.SIGINT)
        # What else it says follows what it prints: the summary.
        rest = trace.stderr.read()
        trace.wait(PATIENCE_S)
        print(rest, end="", flush=True)
    if trace.returncode:
        sys.exit(f"demo: tcptrace ended with {trace.returncode}")


@contextmanager
def server(accept_limit: int, stall_s: float) -> Iterator[None]:
    arguments = ["server", str(PORT), str(accept_limit), str(stall_s)]
    with subprocess.Popen(
        [*PEERS, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            sys.exit(f"demo: port {PORT} was taken in between; run it again")
        yield
        process.stdin.close()
        process.wait(PATIENCE_S)


def clients(count: int) -> list[str]:
    """Returns how many seconds each connect() took."""
    command = [*PEERS, "client", str(PORT), str(count)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return ended.stdout.split()


if __name__ == "__main__":
    sys.exit(main())
