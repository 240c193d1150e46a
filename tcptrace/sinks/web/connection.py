"""One client's connection: every wait on the network has a deadline."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import TYPE_CHECKING, Final

from tcptrace.sinks.web.request import LONGEST_HEAD, oversize

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from tcptrace.sinks.web.site import Site
    from tcptrace.sinks.web.tls import Tls

_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_END_LENGTH: Final = 4
_CHUNK: Final = 64 << 10
_TLS_HANDSHAKE: Final = b"\x16"
"""The first byte that a client sends. Source: RFC 8446, section 5.1."""
_LINGER_S: Final = 1.0


class Connection:
    """A client's socket and what came from it.

    Used by one thread at a time, but for `cut`. The fd is closed by the thread that accepted it, so
    that `cut` never meets a number that means somebody else.

    Args:
        client: a connected socket.
        timeout_s: how long the first request may take to come.
    """

    def __init__(self, client: socket.socket, timeout_s: float) -> None:
        self._socket = client
        self._secured: ssl.SSLSocket | None = None
        self._buffer = bytearray()
        self.site: Site | None = None
        """Under which it was set up; None before."""
        self.left_s = timeout_s
        """How long the rest of a request may take to come."""
        self.waiting_since_s: float | None = None
        """Since when (CLOCK_MONOTONIC) its thread waits for the network; None while it works."""

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def has_more(self) -> bool:
        """Whether bytes are here that no selector sees."""
        pending = self._secured is not None and self._secured.pending() > 0
        return pending or bool(self._buffer)

    def speaks_tls(self) -> bool:
        """Whether the first byte looks like TLS; leaves it unread."""
        with self._until(self.left_s):
            return self._socket.recv(1, socket.MSG_PEEK) in {_TLS_HANDSHAKE, b""}

    def secure(self, tls: Tls) -> bool:
        """Does the handshake; returns whether the client may stay.

        Raises:
            OSError: it failed, or took too long.
        """
        with self._until(self.left_s) as deadline_s:
            secured = tls.context.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
            self._socket = self._secured = secured
            secured.do_handshake()
        self.left_s = max(0.0, deadline_s - time.monotonic())
        return tls.admits(secured.getpeercert())

    def read_head(self) -> bytes | None:
        """Reads up to the empty line, which it takes away; None at the connection's end.

        Raises:
            BadRequest: it is too long.
            OSError: the connection broke, or the client took too long.
        """
        seen = 0
        with self._until(self.left_s) as deadline_s:
            while not (match := _END_OF_HEAD.search(self._buffer, max(0, seen - _END_LENGTH))):
                if len(self._buffer) > LONGEST_HEAD:
                    raise oversize(self._buffer)
                seen = len(self._buffer)
                self._remain(deadline_s)
                received = self._socket.recv(_CHUNK)
                if not received:
                    return None
                self._buffer += received
                self._skip_empty_lines()
        if match.start() > LONGEST_HEAD:
            raise oversize(self._buffer)
        head = bytes(self._buffer[: match.start()])
        del self._buffer[: match.end()]
        self._skip_empty_lines()
        return head

    def send(self, data: bytes, timeout_s: float) -> None:
        """Sends all of `data`.

        Raises:
            OSError: the connection broke, or the client took too long to read.
        """
        view = memoryview(data)
        with self._until(timeout_s) as deadline_s:
            while view:
                self._remain(deadline_s)
                sent = self._socket.send(view[:_CHUNK])
                view = view[sent:]
                self.waiting_since_s = time.monotonic()

    def linger(self) -> None:
        """Lets the client read the answer: closing on unread input would reset the connection."""
        self.part()
        with contextlib.suppress(OSError, ValueError), self._until(_LINGER_S) as deadline_s:
            # The methods of the plain socket: whether it is TLS doesn't matter any more.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while socket.socket.recv(self._socket, _CHUNK):
                self._remain(deadline_s)

    def part(self) -> None:
        """Tells a TLS client that nothing was cut off; waits for no answer."""
        if self._secured is not None:
            with contextlib.suppress(OSError, ValueError):
                self._secured.settimeout(0)
                self._secured.unwrap()

    def cut(self) -> None:
        """Ends the connection under the thread that waits for it."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the descriptor back."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _skip_empty_lines(self) -> None:
        """Drops what may come before a request. Source: RFC 9112, section 2.2."""
        if self._buffer.startswith((b"\r", b"\n")):
            self._buffer = self._buffer.lstrip(b"\r\n")

    @contextlib.contextmanager
    def _until(self, timeout_s: float) -> Iterator[float]:
        """Marks a wait for the network; lends its deadline."""
        self.waiting_since_s = time.monotonic()
        try:
            deadline_s = self.waiting_since_s + timeout_s
            self._remain(deadline_s)
            yield deadline_s
        finally:
            self.waiting_since_s = None

    def _remain(self, deadline_s: float) -> None:
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        self._socket.settimeout(remaining_s)
