"""Starts the demo's people, see tests/demo/peers.py."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 8080
PEERS = [sys.executable, "-m", "tests.demo.peers"]
PATIENCE_S = 180


@contextmanager
def server(accept_limit: int, stall_s: float) -> Iterator[None]:
    """A server that listens; it stalls for so long once the first client is there."""
    arguments = [str(PORT), str(accept_limit), str(stall_s)]
    with subprocess.Popen(
        [*PEERS, "server", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.stdin.close()
        process.wait(PATIENCE_S)


def call(clients: int) -> None:
    """Has so many clients connect, one after the other, and waits until all are served."""
    arguments = [str(PORT), str(clients)]
    subprocess.run(
        [*PEERS, "client", *arguments], stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE_S
    )
