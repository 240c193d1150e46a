"""Sockets beyond a limit: counted by state, and no more kept one by one.

A folded socket costs nothing and stays in the counts. The record of what it does next tells the
state that it leaves, which takes one of those folded in that state: whichever, they are all alike.
So the counts are right as long as no record is lost. A snapshot finds how many there are, and
corrects what losses did.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.life import last_told_ns
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.counts import Place, StateCounts
    from tcptrace.lifecycle.life import Life

MOST_CONNECTIONS: Final = 100_000
"""How many lives are kept unless told otherwise: about 0.3 KB each where most of them rest."""
MOST_BUSY: Final = 16_384
"""So many more are kept while nothing can be folded but what has just happened."""
IDLE_NS: Final = 50_000_000
"""A life is idle if nothing was told of it for so long: none of its steps is under way."""
MOST_FOUND: Final = 65_536
"""How many folded sockets that a snapshot found are remembered until its end."""

_SPARE_SHARE: Final = 64
"""The share of the limit that is folded beyond need, so that it is not looked for all the time."""
_NEVER_FOLDED: Final = (State.CLOSE, State.LISTEN)

_Cell = tuple["Place", State]


class Folded:
    """How many sockets are folded, by place and state.

    While a snapshot is taken it finds folded sockets. Those that are left at its end must be as
    many as it found, less those that did something since: of the first MOST_FOUND it is known which
    they are. Others, and those that were folded meanwhile, leave a doubt of one each.

    Args:
        counts: what the folded sockets are part of.

    Attributes:
        counts: the same.
        total: how often a connection was folded since the trace began.
        found: where the sockets are counted that the present snapshot found; None without one.
    """

    def __init__(self, counts: StateCounts) -> None:
        self.counts = counts
        self.total = 0
        self.found: dict[int, _Cell] | None = None
        self._snapshot = 0
        self._least: Counter[_Cell] = Counter()
        self._most: Counter[_Cell] = Counter()

    def fold(self, life: Life) -> None:
        """A life is kept no more."""
        self.total += 1
        state = life.connection.state
        if state is None or state in _NEVER_FOLDED:
            return
        place = self.counts.fold(life, state)
        if self.found is None:
            return
        if life.seen_in == self._snapshot:
            self._note(life.sock, (place, state))
        else:
            self._most[place, state] += 1

    def add(self, netns: int, family: str, state: State) -> None:
        """Counts a socket that was never kept."""
        self.counts.add_folded(netns, family, state)

    def resume(self, life: Life, sock: int, state: State, at_ns: int) -> bool:
        """Counts a life as the folded one that it may be; False if none is folded there.

        Args:
            life: known of no record before this one.
            sock: the object that it was in.
            state: the state that it was in.
            at_ns: the record's time.
        """
        connection = life.connection
        if state in _NEVER_FOLDED:
            return False
        place = self.counts.folded_at(connection.netns, connection.family_name, state)
        if place is None:
            return False
        self.counts.unfold(life, place, state, at_ns)
        self._leave(sock, (place, state))
        return True

    def take(self, netns: int, family: str, state: State, sock: int) -> bool:
        """A folded socket is gone; False if none is folded there."""
        place = self.counts.folded_at(netns, family, state)
        if place is None:
            return False
        self.counts.settle_folded(place, state, place.folded[state] - 1)
        self._leave(sock, (place, state))
        return True

    def is_any(self, netns: int, family: str, state: State) -> bool:
        """Whether any socket is folded there."""
        return self.counts.folded_at(netns, family, state) is not None

    # Snapshots.

    def begin(self, snapshot: int) -> None:
        """A snapshot begins."""
        self._snapshot = snapshot
        self.found = {}
        self._least.clear()
        self._most.clear()

    def find(self, netns: int, family: str, state: State, sock: int) -> None:
        """A snapshot found a socket that is kept nowhere: one of the folded, or one more."""
        place = self.counts.folded_at(netns, family, state)
        if place is None or place.folded[state] <= self._least[place, state]:
            place = self.counts.add_folded(netns, family, state)
        self._note(sock, (place, state))

    def reborn(self, sock: int) -> None:
        """A life is in an object now: if a snapshot found it among the folded, it is none."""
        cell = self.found.pop(sock, None) if self.found is not None else None
        if cell is not None:
            self._least[cell] -= 1
            self._most[cell] -= 1

    def end(self, namespaces: AbstractSet[int]) -> int:
        """A snapshot is complete; returns how many turned out to be gone.

        Args:
            namespaces: those that it covered; none if a record was lost meanwhile.
        """
        gone = 0
        for netns, place in self.counts.places():
            if netns in namespaces:
                gone += sum(self._settle(place, state) for state in State)
        self.found = None
        return gone

    def leave(self, namespaces: AbstractSet[int]) -> int:
        """Namespaces are gone; returns how many were folded there. Not during a snapshot."""
        gone = 0
        for netns, place in self.counts.places():
            if netns in namespaces:
                gone += sum(place.folded)
                for state in State:
                    self.counts.settle_folded(place, state, 0)
        return gone

    def _settle(self, place: Place, state: State) -> int:
        cell, was = (place, state), place.folded[state]
        now = max(0, self._least[cell], min(was, self._most[cell]))
        if now != was:
            self.counts.settle_folded(place, state, now)
        return max(0, was - now)

    def _note(self, sock: int, cell: _Cell) -> None:
        self._least[cell] += 1
        self._most[cell] += 1
        if self.found is not None and len(self.found) < MOST_FOUND:
            self.found[sock] = cell

    def _leave(self, sock: int, cell: _Cell) -> None:
        if self.found is None:
            return
        if sock in self.found:
            self.reborn(sock)
        elif len(self.found) >= MOST_FOUND:
            self._least[cell] -= 1


def too_many(kept: int, most: int) -> int:
    """How many of the kept lives should be folded: none, or some more than needed."""
    return kept - most + most // _SPARE_SHARE if kept > most else 0


def oldest_idle(lives: Iterable[Life], number: int, now_ns: int) -> list[Life]:
    """Finds the first lives that are idle, those in CLOSE_WAIT last: they are looked for.

    Args:
        lives: the oldest first.
        number: so many, if there are.
        now_ns: the time of the last record.
    """
    chosen: list[Life] = []
    waiting: list[Life] = []
    for life in _idle(lives, now_ns - IDLE_NS):
        if life.connection.state is not State.CLOSE_WAIT:
            chosen.append(life)
            if len(chosen) >= number:
                return chosen
        elif len(waiting) < number:
            waiting.append(life)
    return chosen + waiting[: number - len(chosen)]


def oldest(lives: Iterable[Life], number: int) -> list[Life]:
    """The first lives, whatever they do."""
    return list(islice(lives, number))


def _idle(lives: Iterable[Life], since_ns: int) -> Iterator[Life]:
    for life in lives:
        if not _is_between(life) and last_told_ns(life) <= since_ns:
            yield life


def _is_between(life: Life) -> bool:
    """Whether its next record is on its way: in two objects, a child, or before its SYN leaves."""
    state = life.connection.state
    is_portless = state is State.SYN_SENT and not life.keys
    return bool(life.other) or state is State.SYN_RECV or is_portless
