"""The traffic: both ends of TCP connections by the plain sockets API, and what the kernel says."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .lives import Address, Process
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK: Final = "127.0.0.1"
"""Where clients come from: the kernel's choice for every destination in 127.0.0.0/8."""
_TIMEOUT_S: Final = 60.0
_TCP_INFO_SIZE: Final = 104
_TCP_INFO_TOTAL_RETRANS: Final = 100
FIN_WAIT2: Final = 5
CLOSING: Final = 11
_ACCEPT: Final = ("43", "288")
"""accept and accept4, by their numbers on x86-64."""
ESTABLISHED: Final = "01"
SYN_RECV: Final = "03"
TIME_WAIT: Final = "06"
LISTEN: Final = "0A"
"""As /proc/net/tcp writes them."""


def this_process() -> Process:
    """The calling thread as the kernel names it."""
    return Process(os.getpid(), Path("/proc/thread-self/comm").read_text().rstrip("\n"))


def take_comm_of_process() -> None:
    """Gives the calling thread its process's comm: some Pythons name each thread for itself."""
    comm = Path("/proc/self/comm").read_text().rstrip("\n")
    Path("/proc/thread-self/comm").write_text(comm)


def in_thread(call: Callable[[], object]) -> threading.Thread:
    """Starts the call in a thread that never outlives the tests."""

    def run() -> None:
        take_comm_of_process()
        call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6, by how the address is written."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def make(address: str) -> socket.socket:
    """Makes a socket for that address: not yet bound, no call on it lasting for ever."""
    end = socket.socket(family_of(address))
    end.settimeout(_TIMEOUT_S)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return end


def listen(address: Address, backlog: int = 16) -> socket.socket:
    """Makes a listener. Of several on one port each has an address of its own."""
    listener = make(address[0])
    listener.bind(address)
    listener.listen(backlog)
    return listener


def connect(address: Address, source_port: int = 0) -> socket.socket:
    """Makes a client and connects it."""
    client = make(address[0])
    if source_port:
        client.bind(("", source_port))
    client.connect(address)
    return client


class Attempt:
    """A connection attempt that nobody waits for: its SYN has left.

    Attributes:
        source: the client's end, known before the attempt, since a failed one loses its port.
    """

    def __init__(self, address: Address, source: str = LOOPBACK) -> None:
        self.socket = make(source)
        self.socket.settimeout(0)
        self.socket.bind((source, 0))
        self.source: Address = self.socket.getsockname()[:2]
        self._errno = self.socket.connect_ex(address)

    def outcome(self) -> int:
        """Waits for the attempt's end and returns its errno, 0 for success."""
        if self._errno == errno.EINPROGRESS:
            poll = select.poll()
            poll.register(self.socket, select.POLLOUT)
            assert poll.poll(_TIMEOUT_S * 1000), "the attempt to connect does not end"
            self._errno = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.socket.settimeout(_TIMEOUT_S)
        return self._errno


def accept(listener: socket.socket) -> socket.socket:
    """Takes one connection."""
    server, _ = listener.accept()
    server.settimeout(_TIMEOUT_S)
    return server


def wait_for_fin(end: socket.socket) -> None:
    """Reads until the other end's FIN."""
    while end.recv(65536):
        pass


def close_in_turn(first: socket.socket, second: socket.socket) -> None:
    """Closes both ends: the second one once it has the first one's FIN."""
    first.close()
    wait_for_fin(second)
    second.close()


def reset(end: socket.socket) -> None:
    """Closes with a RST: SO_LINGER of 0 seconds."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def first_to_read_end(ends: list[socket.socket]) -> socket.socket:
    """Waits until one of them has something to read, a FIN or a RST, and returns it."""
    readable, _, _ = select.select(ends, [], [], _TIMEOUT_S)
    assert readable, "none of the sockets has anything to read"
    return next(end for end in ends if end in readable)


def wait_for_reset(end: socket.socket) -> None:
    """Reads until the other end's RST."""
    try:
        end.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError("read something else than a RST")


def state_of(end: socket.socket) -> int:
    """The socket's state, by the kernel's number (TCP_INFO)."""
    return int(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0])


def retransmits_of(end: socket.socket) -> int:
    """The segments that the socket has sent again in its life (TCP_INFO)."""
    told = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    return int(struct.unpack_from("I", told, _TCP_INFO_TOTAL_RETRANS)[0])


def states_at(port: int, address: str) -> Counter[str]:
    """The states (in hexadecimal) of all sockets of this namespace with that end."""
    wanted = {f"{words}:{port:04X}" for words in _as_proc_writes(address)}
    return Counter(row[3] for row in _listed() if wanted & {*row[1:3]})


def states_here() -> Counter[str]:
    """The states (in hexadecimal) of all sockets of this namespace."""
    return Counter(row[3] for row in _listed())


def _listed() -> list[list[str]]:
    return [
        row.split()
        for name in ("tcp", "tcp6")
        for row in Path("/proc/thread-self/net", name).read_text().splitlines()[1:]
    ]


def _as_proc_writes(address: str) -> set[str]:
    """How /proc/net/tcp and tcp6 write an address: words in hexadecimal, in the CPU's order."""
    packed = socket.inet_pton(family_of(address), address)
    words = "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", packed))
    mapped = struct.unpack("=I", bytes.fromhex("0000ffff"))[0]
    return {words, f"{0:016X}{mapped:08X}{words}"}


def wait_until_quiet(port: int, address: str) -> None:
    """Waits until the kernel has no socket with that end but in TIME_WAIT or LISTEN."""
    until(
        lambda: not set(states_at(port, address)) - {TIME_WAIT, LISTEN},
        f"the sockets of {address}:{port} to be over",
    )


def is_in_accept(task: int | None) -> bool:
    """Whether a thread, or a process's first one, is in accept(): 5.10 has no wchan of a thread."""
    return Path(f"/proc/{task}/syscall").read_text().split()[0] in _ACCEPT


def counters(group: str = "TcpExt") -> Counter[str]:
    """This namespace's counters of TcpExt, or of another group of /proc/net/netstat."""
    lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith(f"{group}:"))
    return Counter(dict(zip(names, map(int, values), strict=True)))
