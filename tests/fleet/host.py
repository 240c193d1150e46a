"""One of the fleet's hosts, in a guest: `python -m tests.fleet.host ROLE SECONDS`.

It serves its metrics at every address, and plays its role until it is over. `well`: connections
come and are taken. `refusing`: the same, and beside them a listener whose accept queue overflows in
bursts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live.sockets import LOOPBACK, Attempt, connect, listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

METRICS: Final = 9436
WELL: Final = 8080
REFUSING: Final = 8443
ROLES: Final = ("well", "refusing")
_LIMIT: Final = 1
_ATTEMPTS: Final = 4
_ROUND_S: Final = 1.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.host")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args(arguments)
    Path("/proc/self/comm").write_text("shop", encoding="ascii")
    tcptrace = str(Path(sys.executable).with_name("tcptrace"))
    command = [tcptrace, "serve", "--listen", f"[::]:{METRICS}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as exporter:
        assert exporter.stderr is not None
        print(exporter.stderr.readline(), end="", flush=True)
        try:
            play(options.role, options.seconds)
        finally:
            exporter.terminate()
        return exporter.wait()


def play(role: str, seconds: float) -> None:
    """A round a second."""
    well = listen((LOOPBACK, WELL))
    full = listen((LOOPBACK, REFUSING), _LIMIT)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        _take(well)
        if role == "refusing":
            _refuse(full)
        time.sleep(max(0.0, begun + _ROUND_S - time.monotonic()))


def _take(listener: socket.socket) -> None:
    with connect((LOOPBACK, WELL)):
        listener.accept()[0].close()


def _refuse(listener: socket.socket) -> None:
    """A burst that the queue can't take, and soon all that it took is accepted."""
    attempts = [Attempt((LOOPBACK, REFUSING)) for _ in range(_ATTEMPTS)]
    time.sleep(_ROUND_S / 10)
    listener.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
    for attempt in attempts:
        attempt.socket.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
