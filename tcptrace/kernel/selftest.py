"""Makes every hook fire: a few connections on loopback that go through all that a life can meet.

Ports are the kernel's choice, the listeners and clients are this process's own, and all of it is
over within seconds. A kernel can accept every probe and stay deaf: only one that ran is proof.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_STEP_S: Final = 0.02


def families() -> list[socket.AddressFamily]:
    """The families that loopback has here."""
    found = []
    for family, address in _LOOPBACK.items():
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
            found.append(family)
    return found


def exercise(is_done: Callable[[], bool], deadline_s: float) -> None:
    """Sends loopback traffic until every hook fired or the time is over.

    Args:
        is_done: whether all that can fire has fired.
        deadline_s: how long to wait at most for timers of 1 s (SYN and SYN-ACK retransmits).

    Raises:
        OSError: loopback does not work here.
    """
    end = time.monotonic() + deadline_s
    with ExitStack() as sockets:
        waiting = []
        for family in families():
            _reuse_time_wait(family)
            _reset(family)
            _refuse(family)
            _close_unaccepted(family)
            _overflow(family, sockets)
            waiting.append(_defer(family, sockets))
        while not is_done() and time.monotonic() < end:
            time.sleep(_STEP_S)
            for client in waiting:
                # After the SYN-ACK's retransmit the RST ends the request socket.
                if time.monotonic() > end - deadline_s / 2 and client.fileno() >= 0:
                    _close_by_reset(client)


def _listen(family: socket.AddressFamily, accept_limit: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.settimeout(5)
    listener.bind((_LOOPBACK[family], 0))
    listener.listen(accept_limit)
    return listener


def _reuse_time_wait(family: socket.AddressFamily) -> None:
    """The server closes first: FIN_WAIT2, then TIME_WAIT; then the same client port returns."""
    with _listen(family, 8) as listener:
        port = 0
        for _ in range(2):
            with socket.socket(family, socket.SOCK_STREAM) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.settimeout(5)
                client.bind((_LOOPBACK[family], port))
                port = client.getsockname()[1]
                client.connect(listener.getsockname())
                listener.accept()[0].close()
                client.recv(1)
                # Acknowledged at once, or the FINs cross and the TIME_WAIT socket is never told.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _reset(family: socket.AddressFamily) -> None:
    with _listen(family, 8) as listener, socket.socket(family, socket.SOCK_STREAM) as client:
        client.connect(listener.getsockname())
        with listener.accept()[0] as server:
            _close_by_reset(client)
            with suppress(ConnectionResetError):
                server.settimeout(5)
                server.recv(1)


def _refuse(family: socket.AddressFamily) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as closed:
        closed.bind((_LOOPBACK[family], 0))
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.connect_ex(closed.getsockname())


def _close_unaccepted(family: socket.AddressFamily) -> None:
    """A listener closes with a connection queued: may it migrate to another one?"""
    with _listen(family, 8) as listener, socket.socket(family, socket.SOCK_STREAM) as client:
        client.connect(listener.getsockname())
        listener.close()


def _overflow(family: socket.AddressFamily, sockets: ExitStack) -> None:
    """One connection fills an accept queue of limit 0; the next SYN is dropped, and sent again."""
    listener = sockets.enter_context(_listen(family, 0))
    for _ in range(2):
        client = sockets.enter_context(socket.socket(family, socket.SOCK_STREAM))
        client.settimeout(0)
        with suppress(BlockingIOError):
            client.connect(listener.getsockname())


def _defer(family: socket.AddressFamily, sockets: ExitStack) -> socket.socket:
    """A listener that defers accept answers a bare final ACK with its SYN-ACK again, 1 s later."""
    listener = sockets.enter_context(_listen(family, 8))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    client = sockets.enter_context(socket.socket(family, socket.SOCK_STREAM))
    if client.connect_ex(listener.getsockname()) not in (0, errno.EINPROGRESS):
        raise OSError(errno.ECONNREFUSED, "loopback refuses its own listener")
    return client


def _close_by_reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    client.close()
