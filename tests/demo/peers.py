"""The demo's people: a server that can stall in its accept loop, and clients that are impatient.

Each is a process of its own with a name of its own, as a trace shows them. Run as
`python -m tests.demo.peers server PORT LIMIT STALL_S` or `… client PORT COUNT`; the server says
"ready" on stdout once it listens and ends when its stdin does.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

ADDRESS = "127.0.0.1"
FIRST_CLIENT = 2
"""The n-th client has the address 127.0.0.n, from this one on."""
CLIENT_EVERY_S = 0.3
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


def call_yourself(name: str) -> None:
    Path("/proc/self/comm").write_text(name, encoding="ascii")


def serve(port: int, accept_limit: int, stall_s: float) -> None:
    call_yourself("slow-server")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(accept_limit)
        threading.Thread(target=answer_all, args=(listener, stall_s), daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()


def answer_all(listener: socket.socket, stall_s: float) -> None:
    # From the first client on, as a guest may take seconds to start them.
    select.select([listener], [], [])
    time.sleep(stall_s)
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(1024)
                connection.sendall(ANSWER)


def call_many(port: int, count: int) -> None:
    call_yourself("clients")
    begin = time.monotonic()
    threads = []
    for n in range(count):
        time.sleep(max(0, begin + n * CLIENT_EVERY_S - time.monotonic()))
        threads.append(threading.Thread(target=call, args=(port, f"127.0.0.{FIRST_CLIENT + n}")))
        threads[-1].start()
    for thread in threads:
        thread.join()


def call(port: int, source: str) -> None:
    begin = time.monotonic()
    with socket.create_connection((ADDRESS, port), 30, (source, 0)) as connection:
        connected = time.monotonic() - begin
        connection.sendall(REQUEST)
        while connection.recv(1024):
            pass
    # One write, so that no other thread's line comes in between.
    sys.stdout.write(f"{connected:.2f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    if role == "server":
        serve(int(numbers[0]), int(numbers[1]), float(numbers[2]))
    else:
        call_many(int(numbers[0]), int(numbers[1]))
