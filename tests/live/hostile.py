"""A hostile process: `python -m live.hostile SECONDS NAMESPACES`, in the network that it attacks.

Opens and closes connections as fast as it can under names that would steer a terminal, fills the
queues of hundreds of listeners, opens as many network namespaces. Prints "done" and what it did,
keeps what is left open until its standard input ends.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Final

NAMES: Final = (
    b"\x1b[2J\x1b[31mX",
    b"a\nb\r\x07\x9b0m",
    "\u202eevil\u2066".encode(),
    b'"},{"x":"\\',
    b'{job="x"} 1\n',
    b"\xff\xfe\xed\x1b]0;x",
)
"""Of at most 15 bytes."""
LISTENERS: Final = 300
FIRST_PORT: Final = 6000
CHURN_PORT: Final = 5999
_PR_SET_NAME: Final = 15
_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_CHURNERS: Final = 3
_AT_EACH: Final = 4
"""Connections to each listener: its queue holds one."""


def rename(name: bytes) -> None:
    _LIBC.prctl(_PR_SET_NAME, name, 0, 0, 0)


def fill(kept: list[socket.socket]) -> None:
    """Listeners of which nobody accepts, each with more clients than it has room for."""
    for number, name in zip(range(LISTENERS), itertools.cycle(NAMES), strict=False):
        rename(name)
        listener = socket.socket()
        kept.append(listener)
        listener.bind(("127.0.0.1", FIRST_PORT + number))
        listener.listen(0)
        for _ in range(_AT_EACH):
            client = socket.socket()
            kept.append(client)
            client.setblocking(False)  # noqa: FBT003
            with suppress(BlockingIOError):
                client.connect(("127.0.0.1", FIRST_PORT + number))


def open_namespaces(count: int, kept: list[int]) -> None:
    """Each with a listener, in a thread that moves from one to the next."""
    for name in itertools.islice(itertools.cycle(NAMES), count):
        rename(name)
        if _LIBC.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        listener = socket.create_server(("", CHURN_PORT))
        kept.append(listener.detach())


def churn(end_s: float, done: list[int]) -> None:
    """Connects, and closes both ends by turns and by reset, under another name each time."""
    count = 0
    for name in itertools.cycle(NAMES):
        if time.monotonic() > end_s:
            break
        rename(name)
        with suppress(OSError), socket.socket() as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", CHURN_PORT))
            if count % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            count += 1
    done.append(count)


def serve(listener: socket.socket) -> None:
    for name in itertools.cycle(NAMES):
        rename(name)
        listener.accept()[0].close()


def main() -> None:
    seconds, namespaces = float(sys.argv[1]), int(sys.argv[2])
    sockets: list[socket.socket] = []
    elsewhere: list[int] = []
    done: list[int] = []
    listener = socket.create_server(("127.0.0.1", CHURN_PORT), backlog=4)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    end_s = time.monotonic() + seconds
    threads = [threading.Thread(target=churn, args=(end_s, done)) for _ in range(_CHURNERS)]
    threads.append(threading.Thread(target=open_namespaces, args=(namespaces, elsewhere)))
    for thread in threads:
        thread.start()
    fill(sockets)
    for thread in threads:
        thread.join()
    print(f"done {sum(done)} {len(elsewhere)}", flush=True)
    sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
