"""Servers and clients of one thread: nobody accepts while a burst goes on; so faults are sure."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import struct
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from live.sockets import family_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from live.lives import Address
    from live.namespaces import Namespace

_PATIENCE_S: Final = 20.0


class Loop:
    """Calls what is due, and who has something to read or write."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._ends: list[socket.socket] = []

    def keep(self, end: socket.socket) -> socket.socket:
        """Lets no socket outlive the loop."""
        self._ends.append(end)
        return end

    def close(self) -> None:
        """Closes every socket."""
        self._selector.close()
        for end in self._ends:
            end.close()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Calls once, later."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def every(self, seconds: float, call: Callable[[], None], first: float = 0) -> None:
        """Calls again and again; what could not be in time is left out."""
        due = [time.monotonic() + first]

        def again() -> None:
            call()
            while due[0] <= time.monotonic():
                due[0] += seconds
            self.after(due[0] - time.monotonic(), again)

        self.after(first, again)

    def watch(self, end: socket.socket, events: int, call: Callable[[], None]) -> None:
        """Calls whenever the socket is ready."""
        self._selector.register(end, events, call)

    def forget(self, end: socket.socket) -> None:
        """Watches the socket no more."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(end)

    def run(self, seconds: float) -> None:
        """Runs for so long."""
        end_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < end_s:
            due_s = min(self._timers[0][0], end_s) if self._timers else end_s
            for key, _ in self._selector.select(max(0.0, due_s - now_s)):
                key.data()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()


def make_abrupt(end: socket.socket) -> None:
    """Lets close() send a RST."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Server:
    """Listens, accepts, and closes when the client has closed.

    Args:
        loop: drives it.
        address: where it listens; in the namespace of the caller.
        backlog: listen(2)'s.
        pause_s: between two rounds of accept(); 0: whenever somebody is there.
        most: connections that it takes in a round.
        late_s: how long it takes to close; None: it forgets to.
        at_once: whether it closes what it has accepted, without waiting for the client.
        is_abrupt: whether it closes by a RST.
        defer_s: how long a connection waits for data before accept() may take it.
    """

    def __init__(  # noqa: PLR0913 - so many ways to be a bad server
        self,
        loop: Loop,
        address: Address,
        backlog: int = 128,
        *,
        pause_s: float = 0,
        most: int = 1000,
        late_s: float | None = 0,
        at_once: bool = False,
        is_abrupt: bool = False,
        defer_s: int = 0,
    ) -> None:
        self._loop = loop
        self._most = most
        self._late_s = late_s
        self._at_once = at_once
        self._is_abrupt = is_abrupt
        self._listener = loop.keep(socket.socket(family_of(address[0])))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.settimeout(0)
        self._listener.bind(address)
        self._listener.listen(backlog)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, defer_s)
        if pause_s:
            loop.every(pause_s, self._accept)
        else:
            loop.watch(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        for _ in range(self._most):
            try:
                end, _ = self._listener.accept()
            except BlockingIOError:
                return
            self._loop.keep(end).settimeout(0)
            if self._is_abrupt:
                make_abrupt(end)
            if self._at_once:
                end.close()
            elif self._late_s is not None:
                self._loop.watch(end, selectors.EVENT_READ, partial(self._read, end))

    def _read(self, end: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionError):
            if end.recv(4096):
                return
        self._loop.forget(end)
        if self._late_s:
            self._loop.after(self._late_s, end.close)
        else:
            end.close()


class Clients:
    """Connect without waiting, and close when connected or out of patience.

    Args:
        loop: drives them.
        home: their namespace.
        source: their address; "" for the kernel's choice.
        patience_s: how long they try.
        stay_s: how long they stay connected.
        is_abrupt: whether they close by a RST.
    """

    def __init__(  # noqa: PLR0913 - so many ways to be a bad client
        self,
        loop: Loop,
        home: Namespace,
        *,
        source: str = "",
        patience_s: float = _PATIENCE_S,
        stay_s: float = 0,
        is_abrupt: bool = False,
    ) -> None:
        self._loop = loop
        self._home = home
        self._source = source
        self._patience_s = patience_s
        self._stay_s = stay_s
        self._is_abrupt = is_abrupt

    def connect(self, address: Address, count: int = 1) -> None:
        """So many at once."""
        with self._home.inside():
            ends = [socket.socket(family_of(address[0])) for _ in range(count)]
        for end in ends:
            self._loop.keep(end).settimeout(0)
            if self._is_abrupt:
                make_abrupt(end)
            if self._source:
                end.bind((self._source, 0))
        for end in ends:
            with suppress(OSError):  # refused, or no port is left
                end.connect_ex(address)
            self._loop.watch(end, selectors.EVENT_WRITE, partial(self._ready, end))
            self._loop.after(self._patience_s, partial(self._close, end))

    def _ready(self, end: socket.socket) -> None:
        self._loop.forget(end)
        if end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or not self._stay_s:
            end.close()
        else:
            self._loop.after(self._stay_s, end.close)

    def _close(self, end: socket.socket) -> None:
        """Whoever is connected by now stays as long as it likes."""
        if end.fileno() >= 0 and self._is_trying(end):
            self._loop.forget(end)
            end.close()

    def _is_trying(self, end: socket.socket) -> bool:
        try:
            end.getpeername()
        except OSError:
            return True
        return False
