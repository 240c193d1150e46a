"""Listening sockets as the records tell of them: who listens, limits, peaks, drops by stage."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Listener, Process
from tcptrace.lifecycle.life import STAGES, local_of
from tcptrace.lifecycle.unkept import Unkept
from tcptrace.tcp import MAPPED_PREFIX, Endpoint, State, family_name
from tcptrace.wire.events import Record, Stage

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.counts import Place
    from tcptrace.lifecycle.folding import Folded

MOST_CLOSED: Final = 1_000
"""How many closed listeners are kept one by one; the oldest beyond it are added up."""
MOST_OPEN: Final = 20_000
"""The same of open ones, the latest beyond it: about 15 MB."""


class Listeners:
    """Every listener seen, open or closed.

    Args:
        folded: counts the open ones that are not kept, and in its counts all of them; if given.
    """

    def __init__(self, folded: Folded | None = None) -> None:
        self._unkept = Unkept(folded)
        self._counts = folded.counts if folded is not None else None
        self._open: dict[int, Listener] = {}
        self._places: dict[int, Place] = {}
        self._since_ns: dict[int, int] = {}
        self._seen: set[int] = set()
        self._closed: deque[tuple[int, Listener]] = deque()
        self._last_closed: dict[int, Listener] = {}
        self._folded = Listener(0, Endpoint(bytes(16), 0))

    def open(self, record: Record) -> None:
        """listen() was called: a new listener, whatever its address was before."""
        self._bury(record.sock, record.at_ns)
        self._unkept.replace(record)
        if self._is_full:
            self._folded.folded += 1
            self._unkept.add(record)
            return
        process = Process(record.pid, record.comm.rstrip(b"\0"))
        listener = Listener(record.netns, local_of(record), process, record.at_ns)
        listener.accept_queue_limit = record.accept_queue_limit
        listener.cgroup = record.cgroup
        self._add(record, record.sock, listener)

    def close(self, record: Record) -> Listener | None:
        """The listener is gone, or listens no more: what waits in its accept queue is reset."""
        sock, lost = record.sock, record.accept_queue_len
        if sock not in self._open:
            if self._unkept.take(record):
                _count_drops(self._folded, Stage.LISTENER_CLOSED, lost)
                return None
            if lost:
                self._add(record, sock, Listener(record.netns, local_of(record)))
        listener = self._bury(sock, record.at_ns)
        if listener is not None and lost:
            _count_drops(listener, Stage.LISTENER_CLOSED, lost)
        return listener

    def keep_one(self, sock: int) -> None:
        """One of those that waited for accept() as this listener closed was not lost."""
        listener = self._last_closed.get(sock)
        if listener is not None and listener.drops.get(Stage.LISTENER_CLOSED):
            _count_drops(listener, Stage.LISTENER_CLOSED, -1)
            if not listener.drops[Stage.LISTENER_CLOSED]:
                del listener.drops[Stage.LISTENER_CLOSED]

    def is_open(self, sock: int) -> bool:
        """Whether this object still listens, as far as is known."""
        return sock in self._open or self._unkept.is_any(sock)

    def find(self, sock: int) -> Listener | None:
        """The listener in an object."""
        return self._open.get(sock)

    def see(self, record: Record, sock: int) -> Listener:
        """Takes a listener's queues from a record that carries them.

        A listener from before the trace is known by its port alone: the record's address is the
        packet's, not the one that the listener is bound to.
        """
        listener = self._open.get(sock)
        if listener is None:
            if self._is_full:
                return self._folded
            listener = _unseen(record)
            self._add(record, sock, listener)
        limit, length = record.accept_queue_limit, record.accept_queue_len
        self.see_all(listener, limit, length, record.syn_queue_len)
        listener.cgroup = listener.cgroup or record.cgroup
        return listener

    def see_all(self, listener: Listener, limit: int, accept_peak: int, syn_peak: int) -> None:
        """Takes the queues of a known listener from many records.

        Args:
            listener: an open one.
            limit: of its accept queue, by the last of them.
            accept_peak: the longest accept queue that one of them tells of.
            syn_peak: the longest SYN queue.
        """
        listener.accept_queue_limit = limit
        listener.accept_queue_peak = max(listener.accept_queue_peak, accept_peak)
        listener.syn_queue_peak = max(listener.syn_queue_peak, syn_peak)

    def drop(self, record: Record, sock: int) -> Listener:
        """Counts a refusal at its stage, on its listener, which it returns.

        Request sockets outlive their listener by a second: theirs count on the closed one.
        """
        stage = STAGES.get(record.stage, Stage.OTHER)
        if stage is Stage.LISTENER_CLOSED and sock not in self._open:
            listener = self._last_closed.get(sock)
            if listener is None:
                listener = _unseen(record)
                self._keep_closed(sock, listener)
        else:
            listener = self.see(record, sock)
        _count_drops(listener, stage, 1)
        return listener

    # Snapshots.

    def sight(self, record: Record, process: Process | None) -> None:
        """A snapshot found a listener: its true address, its queues, perhaps who holds it."""
        sock, local = record.sock, local_of(record)
        listener = self._open.get(sock)
        if listener is not None and (listener.netns, listener.local.port) != (
            record.netns,
            local.port,
        ):
            self.lose(sock)
            listener = None
        if listener is None:
            if self._is_full:
                self._unkept.find(record)
                return
            listener = Listener(record.netns, local)
            self._unkept.take(record)
            self._add(record, sock, listener)
        elif listener.local != local:
            self._uncount(sock)
            listener.local = local
            self._count(sock, listener)
        listener.process = listener.process or process
        self._seen.add(sock)
        self.see(record, sock)

    def lose(self, sock: int) -> None:
        """A listener is gone, and nobody knows since when."""
        self._bury(sock, None)

    def lose_unseen(self, namespaces: AbstractSet[int], before_ns: int) -> None:
        """Ends a snapshot: listeners that it did not find are gone.

        Args:
            namespaces: those that the snapshot covered.
            before_ns: what was first told of since then may have come too late for the snapshot.
        """
        for sock, listener in list(self._open.items()):
            is_old = self._since_ns[sock] < before_ns
            if is_old and listener.netns in namespaces and sock not in self._seen:
                self.lose(sock)
        self._seen.clear()
        self._unkept.lose_unseen(namespaces, before_ns)

    def known_since_ns(self, sock: int) -> int | None:
        """When an open listener was first told of; None if there is none in this object."""
        return self._since_ns.get(sock)

    def closed_at_ns(self, sock: int) -> int | None:
        """When the last listener in this object closed, if that is known."""
        listener = self._last_closed.get(sock)
        return listener.closed_at_ns if listener is not None else None

    @property
    def all(self) -> list[Listener]:
        """Closed ones first, each in the order of being seen; before them the sum of the oldest."""
        oldest = [self._folded] if self._folded.folded else []
        return [*oldest, *(one for _, one in self._closed), *self._open.values()]

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._open) + len(self._closed)

    @property
    def _is_full(self) -> bool:
        return len(self._open) >= MOST_OPEN

    def _add(self, record: Record, sock: int, listener: Listener) -> None:
        self._open[sock] = listener
        self._since_ns[sock] = record.at_ns
        self._count(sock, listener)

    def _bury(self, sock: int, at_ns: int | None) -> Listener | None:
        listener = self._open.pop(sock, None)
        if listener is not None:
            del self._since_ns[sock]
            self._seen.discard(sock)
            self._uncount(sock)
            listener.closed_at_ns = at_ns
            self._keep_closed(sock, listener)
        return listener

    def _keep_closed(self, sock: int, listener: Listener) -> None:
        self._closed.append((sock, listener))
        self._last_closed[sock] = listener
        if len(self._closed) > MOST_CLOSED:
            sock, listener = self._closed.popleft()
            if self._last_closed.get(sock) is listener:
                del self._last_closed[sock]
            _fold(self._folded, listener)

    def _count(self, sock: int, listener: Listener) -> None:
        if self._counts is not None:
            family = family_name(listener.local.address)
            place = self._places[sock] = self._counts.place(listener.netns, family)
            place.by_state[State.LISTEN] += 1

    def _uncount(self, sock: int) -> None:
        if self._counts is not None:
            self._places.pop(sock).by_state[State.LISTEN] -= 1


def _fold(sum_of: Listener, listener: Listener) -> None:
    sum_of.folded += 1
    for stage, count in listener.drops.items():
        _count_drops(sum_of, stage, count)
    sum_of.cookies_sent += listener.cookies_sent
    sum_of.accept_queue_peak = max(sum_of.accept_queue_peak, listener.accept_queue_peak)
    sum_of.syn_queue_peak = max(sum_of.syn_queue_peak, listener.syn_queue_peak)


def _count_drops(listener: Listener, stage: Stage, count: int) -> None:
    listener.drops[stage] = listener.drops.get(stage, 0) + count


def _unseen(record: Record) -> Listener:
    is_ipv4 = record.local[:12] == MAPPED_PREFIX
    unspecified = MAPPED_PREFIX + bytes(4) if is_ipv4 else bytes(16)
    return Listener(record.netns, Endpoint(unspecified, record.local_port))
