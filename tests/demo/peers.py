"""The demo's people: a server that can stall in its accept loop, and clients that are impatient.

Each is a process of its own with a name of its own, as a trace shows them. Run as
`python -m tests.demo.peers server PORT LIMIT STALL_S` or `… client PORT COUNT`; the server says "ready"
on stdout once it listens and ends when its stdin does.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

ADDRESS = "127.0.0.1"
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
    time.sleep(stall_s)
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(1024)
                connection.sendall(ANSWER)


def call_many(port: int, count: int) -> None:
    call_yourself("clients")
    threads = [threading.Thread(target=call, args=(port,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def call(port: int) -> None:
    begin = time.monotonic()
    with socket.create_connection((ADDRESS, port), timeout=30) as connection:
        connected = time.monotonic() - begin
        connection.sendall(REQUEST)
        while connection.recv(1024):
            pass
    print(f"{connected:.2f}", flush=True)


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    if role == "server":
        serve(int(numbers[0]), int(numbers[1]), float(numbers[2]))
    else:
        call_many(int(numbers[0]), int(numbers[1]))
