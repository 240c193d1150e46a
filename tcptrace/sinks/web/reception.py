"""Who waits, who is served, who has to go: one thread that accepts, parks and closes connections.

A connection is parked, watched by epoll, while nothing comes from it: before its first byte, and
between two requests, so idle clients cost no thread. Once bytes are there it gets a worker, a
thread that talks TLS and HTTP for one request; with all workers busy it queues. While others queue,
those clients are cut off that have let their workers wait for longer than a second.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from tcptrace.sinks.web.connection import Connection
from tcptrace.sinks.web.text import complain

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.sinks.web.limits import Limits

_AT_ONCE: Final = 64
"""Connections accepted before anything else gets its turn."""
_TICK_S: Final = 0.1
"""How often to look for stalled clients while others queue, and to try again after an error."""
_FAREWELL_S: Final = 1.0
"""How long responses under way may take once the server closes."""


class Reception:
    """Accepts connections and has them served.

    Args:
        listener: a listening socket, non-blocking; closed at the end.
        serve: serves one request, in a thread of its own; returns whether the connection stays.
        may_stay: whether a connection may wait for another request; asked again on `forget`.
        limits: how many, how long.
    """

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[Connection], bool],
        may_stay: Callable[[Connection], bool],
        limits: Limits,
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._may_stay = may_stay
        self._limits = limits
        self._parked: dict[Connection, float] = {}
        """To deadlines, on CLOCK_MONOTONIC; the longest parked first."""
        self._queued: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._served: queue.SimpleQueue[tuple[Connection, bool]] = queue.SimpleQueue()
        self._closing_at_s: float | None = None
        self._forgetting = False
        self._is_disposed = False
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._alarm, selectors.EVENT_READ)

    def close(self) -> None:
        """From any thread: lets `run` end, soon."""
        self._closing_at_s = time.monotonic() + _FAREWELL_S
        self._wake()

    def forget(self) -> None:
        """From any thread: closes the parked connections that may not stay any more."""
        self._forgetting = True
        self._wake()

    def run(self) -> None:
        """Works until `close`."""
        while not self._is_over():
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - no error may end the exporter
                complain(f"serving HTTP: {type(error).__name__}: {error}")
                time.sleep(_TICK_S)
        self.dispose()

    def dispose(self) -> None:
        """Gives back the listener, and what else the kernel lent."""
        self._is_disposed = True
        self._selector.close()
        self._listener.close()
        if not self._busy:  # else a late worker would wake whoever has the number then
            os.close(self._alarm)
        while not self._served.empty():
            self._served.get()[0].close()

    def _is_over(self) -> bool:
        if self._closing_at_s is None:
            return False
        if self._listener.fileno() >= 0:
            self._refuse_all()
        overdue_s = time.monotonic() - self._closing_at_s
        if overdue_s >= 0:
            for connection in self._busy:
                connection.cut()
        return not self._busy or overdue_s >= _FAREWELL_S

    def _refuse_all(self) -> None:
        self._selector.unregister(self._listener)
        self._listener.close()
        while self._drop_longest_parked():
            pass
        while self._queued:
            self._queued.popleft().close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._pause_s()):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, Connection):
                self._unpark(key.fileobj)
                self._queued.append(key.fileobj)
            else:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._alarm)
        self._collect()
        self._expire()
        self._dispatch()

    def _pause_s(self) -> float | None:
        if self._queued or self._closing_at_s is not None:
            return _TICK_S
        if not self._parked:
            return None
        return max(0.0, min(self._parked.values()) - time.monotonic())

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # out of descriptors or memory
                if not self._drop_longest_parked():
                    time.sleep(_TICK_S)
                return
            is_full = len(self._parked) + len(self._queued) >= self._limits.waiting
            if is_full and not self._drop_longest_parked():
                client.close()
                continue
            with contextlib.suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            timeout_s = self._limits.timeout_s
            self._park(Connection(client, timeout_s), timeout_s)

    def _park(self, connection: Connection, timeout_s: float) -> None:
        self._selector.register(connection, selectors.EVENT_READ)
        self._parked[connection] = time.monotonic() + timeout_s

    def _unpark(self, connection: Connection) -> None:
        self._selector.unregister(connection)
        deadline_s = self._parked.pop(connection)
        if connection.site is None:
            connection.left_s = deadline_s - time.monotonic()

    def _drop_longest_parked(self) -> bool:
        connection = next(iter(self._parked), None)
        if connection is None:
            return False
        self._dismiss(connection)
        return True

    def _dismiss(self, connection: Connection) -> None:
        self._unpark(connection)
        connection.part()
        connection.close()

    def _collect(self) -> None:
        """Takes back what workers are done with."""
        while not self._served.empty():
            connection, stays = self._served.get()
            self._busy.discard(connection)
            connection.left_s = self._limits.timeout_s
            if not stays or self._closing_at_s is not None:
                connection.close()
            elif not self._may_stay(connection):
                connection.part()
                connection.close()
            elif connection.has_more:
                self._queued.append(connection)
            else:
                self._park(connection, self._limits.idle_timeout_s)

    def _expire(self) -> None:
        now_s = time.monotonic()
        forgetting, self._forgetting = self._forgetting, False
        for connection, deadline_s in tuple(self._parked.items()):
            if now_s >= deadline_s or (forgetting and not self._may_stay(connection)):
                self._dismiss(connection)

    def _dispatch(self) -> None:
        while self._queued and len(self._busy) < self._limits.workers:
            connection = self._queued.popleft()
            worker = threading.Thread(
                target=self._work, args=(connection,), name="tcptrace-http", daemon=True
            )
            self._busy.add(connection)
            try:
                worker.start()
            except RuntimeError:  # out of threads
                self._busy.discard(connection)
                connection.close()
        if self._queued:
            self._free_stalled()

    def _free_stalled(self) -> None:
        """Cuts the clients that let workers wait longest, as many as others queue."""
        latest_s = time.monotonic() - self._limits.patience_s
        waiting = [(each.waiting_since_s, each) for each in self._busy]
        stalled = sorted(
            ((since_s, each) for since_s, each in waiting if since_s and since_s <= latest_s),
            key=lambda pair: pair[0],
        )
        for _, connection in stalled[: len(self._queued)]:
            connection.cut()

    def _work(self, connection: Connection) -> None:
        stays = False
        try:
            stays = self._serve(connection)
        except Exception as error:  # noqa: BLE001 - one client's trouble is nobody else's
            complain(f"serving a client: {type(error).__name__}: {error}")
        finally:
            self._served.put((connection, stays))
            if self._is_disposed:
                connection.close()
            else:
                self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.eventfd_write(self._alarm, 1)
