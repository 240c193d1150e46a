"""Listening sockets as the records tell of them: who listens, limits, peaks, drops by stage."""

from __future__ import annotations

from tcptrace.lifecycle.connection import Listener, Process
from tcptrace.lifecycle.life import STAGES, local_of
from tcptrace.tcp import MAPPED_PREFIX, Endpoint
from tcptrace.wire.events import Record, Stage


class Listeners:
    """Every listener seen, open or closed. Bounded by what the records name."""

    def __init__(self) -> None:
        self._open: dict[int, Listener] = {}
        self._closed: list[Listener] = []
        self._last_closed: dict[int, Listener] = {}

    def open(self, record: Record) -> None:
        """listen() was called: a new listener, whatever its address was before."""
        self.close(record)
        process = Process(record.pid, record.comm.rstrip(b"\0"))
        listener = Listener(record.netns, local_of(record), process, record.at_ns)
        listener.accept_queue_limit = record.accept_queue_limit
        self._open[record.sock] = listener

    def close(self, record: Record) -> None:
        """The listener is gone, or listens no more."""
        listener = self._open.pop(record.sock, None)
        if listener is not None:
            listener.closed_at_ns = record.at_ns
            self._bury(record.sock, listener)

    def is_open(self, sock: int) -> bool:
        """Whether this object still listens, as far as is known."""
        return sock in self._open

    def see(self, record: Record, sock: int) -> Listener:
        """Takes a listener's queues from a record that carries them.

        A listener from before the trace is known by its port alone: the record's address is the
        packet's, not the one that the listener is bound to.
        """
        listener = self._open.get(sock)
        if listener is None:
            self._open[sock] = listener = _unseen(record)
        listener.accept_queue_limit = record.accept_queue_limit
        listener.accept_queue_peak = max(listener.accept_queue_peak, record.accept_queue_len)
        listener.syn_queue_peak = max(listener.syn_queue_peak, record.syn_queue_len)
        return listener

    def drop(self, record: Record, sock: int) -> None:
        """Counts a refusal at its stage, on its listener.

        Request sockets outlive their listener by a second: theirs count on the closed one.
        """
        stage = STAGES.get(record.stage, Stage.OTHER)
        if stage is Stage.LISTENER_CLOSED and sock not in self._open:
            listener = self._last_closed.get(sock)
            if listener is None:
                listener = _unseen(record)
                self._bury(sock, listener)
        else:
            listener = self.see(record, sock)
        listener.drops[stage] = listener.drops.get(stage, 0) + 1

    @property
    def all(self) -> list[Listener]:
        """Closed ones first, each in the order of being seen."""
        return [*self._closed, *self._open.values()]

    def _bury(self, sock: int, listener: Listener) -> None:
        self._closed.append(listener)
        self._last_closed[sock] = listener


def _unseen(record: Record) -> Listener:
    is_ipv4 = record.local[:12] == MAPPED_PREFIX
    unspecified = MAPPED_PREFIX + bytes(4) if is_ipv4 else bytes(16)
    return Listener(record.netns, Endpoint(unspecified, record.local_port))
