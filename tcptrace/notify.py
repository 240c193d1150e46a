"""Tells systemd how the service is (sd_notify), where systemd started it.

Source: sd_notify(3).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class Notifier:
    """The way to the service manager; made before the privileges are dropped, used after."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if not address:
            return
        if address.startswith("@"):
            address = "\0" + address[1:]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        with suppress(OSError):
            self._socket.connect(address)

    def say(self, *words: str) -> None:
        """Sends assignments such as READY=1; without systemd it does nothing."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send("\n".join(words).encode())

    def close(self) -> None:
        """Gives the socket back; nothing can be said any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
