"""Has the kernel walk over all TCP sockets of a network namespace, by a sock_diag dump.

What the dump answers is not looked at, but for a listener's inode: the probe at
sock_diag_save_cookie (bpf/probes/census.c) sees each socket itself as the dump comes across it, and
tells of it in the same ring, under the same id, as every other record. So nothing between snapshot
and events is lost or told twice. No privilege is needed once the socket is open.

Source: include/uapi/linux/inet_diag.h, netlink.h, sock_diag.h.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final

from tcptrace.errors import CannotTrace
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBxI48x")
_INODE_AT: Final = _HEADER.size + 68
"""Of idiag_inode (u32) within a message: struct inet_diag_msg ends with it."""
_STATE_AT: Final = _HEADER.size + 1
"""Of idiag_state (u8)."""
_ERRNO: Final = struct.Struct("=i")
_BUFFER: Final = min(mmap.PAGESIZE, 8192)
"""The kernel makes no smaller parts, and larger ones if asked for: a part tells of 40 sockets at
most, whose records find room in the smallest ring but one."""
_sequences: Final = count(1)
"""What is left of a dump that was given up is not taken for the next one's."""
_TIMEOUT: Final = struct.pack("ll", 10, 0)

ALL_STATES: Final = sum(1 << state for state in State if state is not State.CLOSE)
LISTEN_ONLY: Final = 1 << State.LISTEN


def open_diag() -> socket.socket:
    """Opens a sock_diag socket in the calling thread's network namespace.

    Raises:
        CannotTrace: the kernel has none.
    """
    try:
        diag = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    except OSError as error:
        raise CannotTrace(f"no sock_diag ({error.strerror}): modprobe tcp_diag") from error
    diag.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
    return diag


def dump(diag: socket.socket, states: int, between: Callable[[], object]) -> None:
    """Walks over the namespace's TCP sockets, both families.

    Args:
        diag: from open_diag().
        states: a bit for each state to walk over.
        between: called after each part, so that the ring can be drained.

    Raises:
        OSError: the kernel refuses the dump (tcp_diag is missing), or doesn't answer.
    """
    for _ in _messages(diag, states, between):
        pass


def count_by_state(diag: socket.socket, states: int) -> dict[int, int]:
    """How many TCP sockets the namespace has in each state.

    A request socket is told as SYN_RECV, a TIME_WAIT socket as the state that it stands for.

    Raises:
        OSError: as dump().
    """
    found: Counter[int] = Counter()
    for message in _messages(diag, states, lambda: None):
        if len(message) > _STATE_AT:
            found[message[_STATE_AT]] += 1
    return dict(found)


def listening_inodes(diag: socket.socket) -> set[int]:
    """The inode numbers of the namespace's listening sockets.

    Raises:
        OSError: as dump().
    """
    found = set()
    for message in _messages(diag, LISTEN_ONLY, lambda: None):
        if len(message) >= _INODE_AT + 4:
            found.add(int.from_bytes(message[_INODE_AT : _INODE_AT + 4], "little"))
    return found


def _messages(
    diag: socket.socket, states: int, between: Callable[[], object]
) -> Iterator[memoryview]:
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states)
        size = _HEADER.size + len(request)
        sequence = next(_sequences) & 0xFFFFFFFF
        diag.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, sequence, 0) + request)
        between()  # the first part is there already
        is_done = False
        while not is_done:
            is_done = yield from _one_part(memoryview(diag.recv(_BUFFER)), sequence)
            between()


def _one_part(part: memoryview, sequence: int) -> Generator[memoryview, None, bool]:
    """Yields a part's messages; returns whether it ends the dump."""
    while len(part) >= _HEADER.size:
        length, kind, _, of, _ = _HEADER.unpack_from(part)
        if not _HEADER.size <= length <= len(part):
            break
        message, part = part[:length], part[(length + 3) & ~3 :]
        if of != sequence:
            continue
        if kind not in (_NLMSG_ERROR, _NLMSG_DONE):
            yield message
            continue
        # Also the end has an error: without tcp_diag a dump ends at once with ENOENT.
        error = _errno_of(message)
        if error or kind == _NLMSG_ERROR:
            raise OSError(error, os.strerror(error))
        return True
    return False


def _errno_of(message: memoryview) -> int:
    if len(message) < _HEADER.size + _ERRNO.size:
        return 0
    (negative,) = _ERRNO.unpack_from(message, _HEADER.size)
    return max(0, -int(negative))
