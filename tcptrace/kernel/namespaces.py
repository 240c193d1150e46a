"""The network namespaces that a trace watches, each with what needs privilege to open.

Opened before the privileges are dropped: a sock_diag socket, the namespace's TcpExt counters and
two of its sysctls stay readable through their descriptors. These keep the namespace
alive, so they are given back when its oldest processes at the start, its name, and its sockets are
gone.
Of a namespace that comes later only the probes tell.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.errors import CannotTrace
from tcptrace.kernel import netns
from tcptrace.kernel.owners import process_ids
from tcptrace.kernel.sock_diag import open_diag
from tcptrace.wire.ledger import COUNTERS, MORE_COUNTERS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

MOST_NAMESPACES: Final = 1024
_CLONE_NEWNET: Final = 0x40000000
_NET: Final = Path("/proc/thread-self/net")
"""The namespace's own that a thread is in; a file stays so while it is open."""
_PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TW_REUSE: Final = Path("/proc/sys/net/ipv4/tcp_tw_reuse")
_READ_SIZE: Final = 1 << 16
_MOST_HOLDERS: Final = 4
"""Processes by which a namespace is known to be in use."""


class Counters(NamedTuple):
    """What a namespace counts."""

    listening: tuple[int, ...]
    """As wire.ledger.COUNTERS names them."""
    more: tuple[int, ...]
    """As MORE_COUNTERS does."""


class WatchedNamespace:
    """One namespace, to be made in a thread that is in it.

    Attributes:
        inode: its inode number.
        diag: its sock_diag socket.
    """

    def __init__(self, inode: int, processes: Iterable[int] = ()) -> None:
        self.inode = inode
        self._is_own = inode == netns.inode_of(netns.OWN)
        self._places: tuple[int, ...] = ()
        with ExitStack() as kept:
            self._holders = _holders(processes, kept)
            self.diag: socket.socket = kept.enter_context(open_diag())
            self._netstat = _open(_NET / "netstat", kept)
            self._snmp = _open(_NET / "snmp", kept)
            sockstats = (_NET / "sockstat", _NET / "sockstat6")
            self._sockstats = [_open(path, kept) for path in sockstats if path.exists()]
            self._port_range = _open(_PORT_RANGE, kept)
            self._tw_reuse = _open(_TW_REUSE, kept)
            self._kept = kept.pop_all()

    def counters(self) -> Counters:
        """Its counters; 0 for one that this kernel lacks."""
        netstat = _counters(os.pread(self._netstat, _READ_SIZE, 0), b"TcpExt:")
        snmp = _counters(os.pread(self._snmp, _READ_SIZE, 0), b"Tcp:")
        if not self._places:
            names = netstat[0] + snmp[0]
            of = {name.decode(): place for place, name in enumerate(names)}
            self._places = tuple(of.get(name, 0) for name in (*COUNTERS, *MORE_COUNTERS))
        values = netstat[1] + snmp[1]
        told = tuple(_number(values[place]) if place else 0 for place in self._places)
        return Counters(told[: len(COUNTERS)], told[len(COUNTERS) :])

    def sockets_in_use(self) -> int:
        """How many TCP sockets it has in its hash tables, by sockstat."""
        return sum(_in_use(os.pread(sockstat, _READ_SIZE, 0)) for sockstat in self._sockstats)

    def ephemeral_ports(self) -> int:
        """How many ports connect() may choose from."""
        low, high = os.pread(self._port_range, 64, 0).split()
        return int(high) - int(low) + 1

    def tw_reuse(self) -> int:
        """Whether connect() may take a port in TIME_WAIT: 0 no, 1 yes, 2 on loopback."""
        return int(os.pread(self._tw_reuse, 64, 0))

    def is_held(self) -> bool:
        """Whether a process that it was found by is still there."""
        return self._is_own or any(map(_is_running, self._holders))

    def close(self) -> None:
        """Gives everything back."""
        self._kept.close()


def _open(path: Path, kept: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    kept.callback(os.close, descriptor)
    return descriptor


def _holders(processes: Iterable[int], kept: ExitStack) -> list[int]:
    """Files that read as ESRCH once their process has ended; open, they do not keep it."""
    holders = []
    for pid in processes:
        with suppress(OSError):
            holders.append(_open(Path(f"/proc/{pid}/stat"), kept))
    return holders


def _is_running(stat: int) -> bool:
    """Whether a process is there, by its open /proc/PID/stat."""
    try:
        return bool(os.pread(stat, 1, 0))
    except ProcessLookupError:
        return False


def _counters(text: bytes, heading: bytes) -> tuple[list[bytes], list[bytes]]:
    """The names and values behind a heading, each behind one word."""
    names, values = (line.split() for line in text.splitlines() if line.startswith(heading))
    return names, values


def _number(value: bytes) -> int:
    """A sum over all CPUs of what each counts up or down: for a moment it may be below 0."""
    number = int(value)
    return 0 if number >> 63 else max(0, number)


def _in_use(text: bytes) -> int:
    """Sockets of TCP or TCP6: full ones, and those in TIME_WAIT."""
    for line in text.splitlines():
        heading, *words = line.split()
        if heading in (b"TCP:", b"TCP6:"):
            told = dict(zip(words[::2], words[1::2], strict=True))
            return int(told.get(b"inuse", 0)) + int(told.get(b"tw", 0))
    return 0


class Watched(NamedTuple):
    """The namespaces that a trace watches, and why it doesn't watch the others."""

    namespaces: list[WatchedNamespace]
    refused: dict[int, str]
    """Reasons, by inode number."""


def watch_all(only: int | None = None) -> Watched:
    """Opens every network namespace that a process is in or that has a name; needs root.

    Args:
        only: the inode number of the only one that is wanted.

    Raises:
        CannotTrace: the kernel lacks sock_diag.
    """
    _allow_many_files()
    watched = Watched([], {})
    failures: list[CannotTrace] = []

    def work() -> None:
        for inode, found in _namespaces().items():
            if only not in (None, inode):
                continue
            try:
                _watch(inode, found, watched)
            except CannotTrace as failure:
                failures.append(failure)
                watched.refused[inode] = str(failure)
            except OSError as error:
                watched.refused[inode] = error.strerror or str(error)

    # A thread of its own, since it never comes back from the last namespace.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures and not watched.namespaces:
        raise failures[0]
    return watched


def _watch(inode: int, found: _Found, watched: Watched) -> None:
    if len(watched.namespaces) >= MOST_NAMESPACES:
        watched.refused[inode] = f"more than {MOST_NAMESPACES}"
        return
    if not any(map(_enter, found.paths)):
        return  # its last process has just ended
    try:
        watched.namespaces.append(WatchedNamespace(inode, found.processes))
    except OSError as error:
        reason = error.strerror or str(error)
        watched.refused[inode] = f"{error.filename}: {reason}" if error.filename else reason


def _enter(path: Path) -> bool:
    """Has this thread be in a namespace; False if nothing is there any more."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    finally:
        os.close(descriptor)
    return True


@dataclass
class _Found:
    """A namespace before it is opened."""

    paths: list[Path] = field(default_factory=list)
    """Where it can be entered: at some processes, the longest running first, or by its name."""
    processes: list[int] = field(default_factory=list)
    """Some that are in it, the longest running first."""


def _namespaces() -> dict[int, _Found]:
    """All there are by inode number, this process's own first."""
    found: dict[int, _Found] = {}
    found[netns.inode_of(netns.OWN)] = _Found([netns.OWN])
    for pid in sorted(process_ids(), key=_began):
        path = Path("/proc", str(pid), "ns/net")
        with suppress(OSError):
            holder = found.setdefault(netns.inode_of(path), _Found())
            if len(holder.processes) < _MOST_HOLDERS:
                holder.paths.append(path)
                holder.processes.append(pid)
    for inode, (_, path) in netns.named().items():
        found.setdefault(inode, _Found()).paths.append(path)
    return found


def _began(pid: int) -> int:
    """When a process began, in ticks since boot; processes that are gone come last."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return sys.maxsize
    return int(stat.rpartition(b")")[2].split()[19])


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
