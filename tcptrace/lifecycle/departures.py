"""When a network namespace is gone, as far as can be told, and nothing more is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.counts import OTHER_NETNS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.healing import Healing
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.tracker import Tracker

IDLE_SNAPSHOTS: Final = 5
"""A namespace is forgotten after so many snapshots in a row without a socket, a watcher or news.

Not sooner: a job that connects every few minutes would have its counters begin anew each time.
"""
SILENT_SNAPSHOTS: Final = 60
"""So many if sockets are counted there, but no snapshot has covered it since a loss: they are
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
        self._idle: dict[int, int] = {}
        self._silent: dict[int, int] = {}

    def leave(self, namespaces: AbstractSet[int], now_ns: int) -> None:
        """These had no socket any more: whatever is counted there, and was told of before, is over.

        Args:
            namespaces: with or without anything that is counted.
            now_ns: a time whose records have all been fed.
        """
        self._tracker.leave(namespaces, now_ns)
        for netns in namespaces - self._tracker.counts.occupied:
            self._healing.forget(netns)

    def look(self, watched: AbstractSet[int], now_ns: int) -> None:
        """Forgets what has been silent for long; to be called once a snapshot.

        Args:
            watched: the namespaces that the ledger's readings tell of.
            now_ns: a time whose records have all been fed.
        """
        counts, tally = self._tracker.counts, self._tally
        silent = tally.namespaces.union(counts.namespaces) - watched - tally.heard
        tally.heard.clear()
        self._idle = _once_more(self._idle, silent - counts.occupied)
        doubtful = silent & self._healing.unhealed - {OTHER_NETNS}
        self._silent = _once_more(self._silent, doubtful)
        lost = _since(self._silent, SILENT_SNAPSHOTS)
        if lost:
            self._tracker.leave(lost, now_ns)
        for netns in lost | _since(self._idle, IDLE_SNAPSHOTS):
            counts.forget(netns)
            tally.forget(netns)
            self._healing.forget(netns)


def _once_more(seen: dict[int, int], now: set[int]) -> dict[int, int]:
    """How often in a row each of these was seen."""
    return {netns: seen.get(netns, 0) + 1 for netns in now}


def _since(seen: dict[int, int], times: int) -> set[int]:
    return {netns for netns, so_often in seen.items() if so_often >= times}
