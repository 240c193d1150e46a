"""Connections to oneself."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BACKLOG = 16
_ADDRESSES = 250


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A listener on that port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))  # noqa: S104 - a guest without a network
        listener.listen(_BACKLOG)
        yield listener


def connect_to(listener: socket.socket, number: int = 0) -> None:
    """Connects, accepts and closes; the client closes first.

    Args:
        listener: to it.
        number: chooses the address that is connected to. Thousands of connections to one address
            meet ports in TIME_WAIT: whether these are taken again depends on the time.
    """
    client = socket.socket()
    client.connect((f"127.0.0.{1 + number % _ADDRESSES}", listener.getsockname()[1]))
    server, _ = listener.accept()
    client.close()
    server.close()


def connect_a_few(port: int) -> None:
    """Has a tool print something: what Python writes to a file waits in a buffer."""
    with listening(port) as listener:
        for _ in range(20):
            connect_to(listener)
