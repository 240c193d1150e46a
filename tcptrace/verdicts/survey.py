"""Looks at the lives that are open now: who waits in vain, who holds what should be closed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Role
from tcptrace.tcp import Endpoint, State
from tcptrace.verdicts.lives import count, take
from tcptrace.verdicts.window import Slice
from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.lifecycle.connection import Connection, Process
    from tcptrace.lifecycle.freezing import Shape
    from tcptrace.lifecycle.life import Life
    from tcptrace.lifecycle.tracker import Tracker

MOST_LIVES: Final = 20_000
"""How many open lives a survey looks at: some 0.2 s of work."""
MOST_HOLDERS: Final = 1_000
AGED_NS: Final = 10_000_000_000
"""A connection that has been in CLOSE_WAIT for so long is not about to be closed."""
_TELLING: Final = frozenset(
    {Kind.SYN_DROPPED, Kind.ACK_DROPPED, Kind.SYN_RETRANSMITTED, Kind.SYNACK_RETRANSMITTED}
)
_HALF_OPEN: Final = (State.SYN_SENT, State.CLOSE_WAIT)


Way = tuple[bytes, Endpoint]
"""From an address here to a remote end: each has all ephemeral ports for itself."""


class Holder(NamedTuple):
    """Who holds connections that their peers have closed."""

    netns: int
    process: Process | None
    cgroup: int
    port: int
    """Of the listener that they came by; 0 of those that a connect() here began."""


class Held:
    """What a holder holds.

    Attributes:
        aged: connections in CLOSE_WAIT for longer than AGED_NS.
        young: those that are in it for less.
        oldest_ns: for how long the first of them is.
        ends: the remote ends of outgoing ones, else the local end.
    """

    def __init__(self) -> None:
        self.aged = 0
        self.young = 0
        self.oldest_ns = 0
        self.ends: Counter[Endpoint] = Counter()


class Survey:
    """What open lives tell.

    Attributes:
        facts: of those that are in trouble.
        holders: by who holds connections in CLOSE_WAIT.
    """

    def __init__(self, now_ns: int, since_ns: int, *, counts_lives: bool) -> None:
        self._since_ns = since_ns
        self._counts_lives = counts_lives
        self.facts = Slice(now_ns)
        self.holders: dict[Holder, Held] = {}
        self._now_ns = now_ns

    def add(self, life: Life) -> None:
        """Looks at an open life."""
        if not life.is_reported:
            take(self.facts, life.connection, self._now_ns, self._since_ns)
            if self._counts_lives:
                count(self.facts, life.connection)
            self.hold(life.connection, life.born_ns)

    def hold(self, connection: Connection, found_ns: int) -> None:
        """Looks at whether somebody should have closed it.

        Args:
            connection: an open one.
            found_ns: when it was found, if it was in its state before.
        """
        if connection.state is not State.CLOSE_WAIT or connection.waits_for_accept:
            return  # nobody can close what accept() has not taken
        is_client = connection.role is Role.CLIENT
        port = 0 if is_client else connection.local.port
        key = Holder(connection.netns, connection.process, connection.cgroup, port)
        if key not in self.holders and len(self.holders) >= MOST_HOLDERS:
            return
        held = self.holders.setdefault(key, Held())
        age_ns = self._now_ns - (connection.spans[-1].at_ns or found_ns)
        held.oldest_ns = max(held.oldest_ns, age_ns)
        if age_ns >= AGED_NS:
            held.aged += 1
        else:
            held.young += 1
        held.ends[connection.remote if is_client else connection.local] += 1


def survey(tracker: Tracker, now_ns: int, since_ns: int, *, everyone: bool = False) -> Survey:
    """Looks at a bounded number of the lives that a tracker keeps.

    Args:
        tracker: that keeps them.
        now_ns: the time.
        since_ns: how lives came to be before that is told no more.
        everyone: whether plain ones are counted too, and bounded by nothing: at a trace's end.
    """
    found = Survey(now_ns, since_ns, counts_lives=everyone)
    registry = tracker.registry
    if everyone:
        for life in registry.objects.peek():
            found.add(life)
    else:
        for life in islice(registry.objects.peek(_may_be_troubled), MOST_LIVES):
            found.add(life)
    for life in islice(registry.waiting.all, MOST_LIVES):
        found.add(life)
    return found


def ways(tracker: Tracker, namespaces: Iterable[int]) -> dict[int, Counter[Way]]:
    """From where to where the TIME_WAIT sockets lead that connect() began, by namespace."""
    found: dict[int, Counter[Way]] = {netns: Counter() for netns in namespaces}
    if not found:
        return found
    for role, (netns, source, _, address, port) in tracker.registry.objects.time_waits():
        if netns in found and role is Role.CLIENT:
            found[netns][source, Endpoint(address, port)] += 1
    return found


def _may_be_troubled(shape: Shape) -> bool:
    return shape.state in _HALF_OPEN or any(kind in _TELLING for kind, _ in shape.moments)
