"""When a network namespace is gone, as far as can be told, and nothing more is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.counts import OTHER_NETNS
from tcptrace.lifecycle.snapshots import SPARE_NS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.healing import Healing
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.tracker import Tracker

IDLE_NS: Final = 5 * 60 * 10**9
"""A namespace is forgotten after so long without a socket, a watcher or news.

Not sooner: a job that connects every few minutes would have its counters begin anew each time.
"""
SILENT_NS: Final = 60 * 60 * 10**9
"""So long if sockets are counted there, but no snapshot has covered it since a loss: they are
rather gone, their ends lost, than silent for an hour."""


class Departures:
    """Forgets namespaces.

    Args:
        tracker: has their lives and state counts.
        tally: has what was counted of them.
        healing: knows where the state counts are doubtful.
    """

    def __init__(self, tracker: Tracker, tally: Tally, healing: Healing) -> None:
        self._tracker = tracker
        self._tally = tally
        self._healing = healing
        self._left: list[tuple[int, set[int]]] = []
        self._idle: dict[int, int] = {}
        self._silent: dict[int, int] = {}

    def leave(self, namespaces: AbstractSet[int], now_ns: int) -> None:
        """These have no socket any more: whatever was told of them until now is over.

        To be called again as time goes on, with others or none: records of what was told of just
        now may still be on their way, and a number may be another namespace's a moment later.

        Args:
            namespaces: with or without anything that is counted.
            now_ns: a time whose records have all been fed.
        """
        if namespaces:
            self._left.append((now_ns, set(namespaces)))
        left, self._left = self._left, []
        for left_ns, gone in left:
            settled_ns = left_ns + SPARE_NS
            self._tracker.leave(gone, min(now_ns, settled_ns))
            occupied = gone & self._tracker.counts.occupied
            for netns in gone - occupied:
                self._healing.forget(netns)
            if occupied and now_ns < settled_ns:
                self._left.append((left_ns, occupied))

    def look(self, watched: AbstractSet[int], now_ns: int) -> None:
        """Forgets what has been silent for long; to be called now and then.

        Args:
            watched: the namespaces that the ledger's readings tell of.
            now_ns: a time whose records have all been fed.
        """
        counts, tally = self._tracker.counts, self._tally
        silent = tally.namespaces.union(counts.namespaces) - watched - tally.heard
        tally.heard.clear()
        self._idle = _still(self._idle, silent - counts.occupied, now_ns)
        doubtful = silent & self._healing.unhealed - {OTHER_NETNS}
        self._silent = _still(self._silent, doubtful, now_ns)
        lost = _before(self._silent, now_ns - SILENT_NS)
        if lost:
            self._tracker.leave(lost, now_ns)
        for netns in lost | _before(self._idle, now_ns - IDLE_NS):
            counts.forget(netns)
            tally.forget(netns)
            self._healing.forget(netns)


def _still(since_ns: dict[int, int], now: set[int], now_ns: int) -> dict[int, int]:
    """Since when each of these has been seen at every look."""
    return {netns: since_ns.get(netns, now_ns) for netns in now}


def _before(since_ns: dict[int, int], at_ns: int) -> set[int]:
    return {netns for netns, began_ns in since_ns.items() if began_ns <= at_ns}
