"""Who holds listening sockets that were there before the trace: a walk over /proc, as root."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tcptrace.errors import CannotTrace
from tcptrace.kernel.sock_diag import listening_inodes

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator


def listeners_of(diags: Iterable[socket.socket]) -> set[int]:
    """The inode numbers of all listening sockets that a process holds.

    Args:
        diags: a sock_diag socket of each network namespace, this process's own first.

    Raises:
        CannotTrace: the kernel lacks sock_diag, so that listeners from before would be missing.
    """
    inodes: set[int] = set()
    for place, diag in enumerate(diags):
        try:
            inodes |= listening_inodes(diag)
        except OSError as error:
            if not place:
                raise CannotTrace(f"no sock_diag ({error.strerror}): modprobe tcp_diag") from error
    return inodes - {0}  # 0: held by no process


def owners(wanted: set[int]) -> dict[int, tuple[int, bytes]]:
    """Who holds the listening sockets: inode number to pid and comm, the oldest holder first.

    Reads /proc as root, until all are found.
    """
    found: dict[int, tuple[int, bytes]] = {}
    for pid in sorted(process_ids()):
        if len(found) == len(wanted):
            break
        with suppress(OSError):
            held = {inode for inode in _sockets_of(pid) if inode in wanted}
            for inode in held - found.keys():
                comm = Path(f"/proc/{pid}/comm").read_bytes().rstrip(b"\n")
                found[inode] = (pid, comm)
    return found


def _sockets_of(pid: int) -> Iterator[int]:
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            target = os.readlink(descriptor)  # noqa: PTH115 - there may be 100,000 of them
            if target.startswith("socket:["):
                yield int(target[8:-1])


def process_ids() -> list[int]:
    """Of every process that there is."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
