"""Facts of some time back until now, in slices: what is older than the window is forgotten."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.verdicts.facts import ListenerFacts, RemoteFacts, absorb

if TYPE_CHECKING:
    from tcptrace.lifecycle.ledger import Address
    from tcptrace.tcp import Endpoint

WINDOW_NS: Final = 60_000_000_000
"""How far back a verdict looks where tracing never ends: it goes away so long after its fault."""
WHOLE_NS: Final = 1 << 62
"""All of a trace that ends."""
SLICES: Final = 12
MOST_SUBJECTS: Final = 1_000
"""How many listeners, and how many remote ends, a slice keeps facts of."""
MOST_PAIRS: Final = 4_096
"""How many connections a slice keeps by both ends."""

Pair = tuple["Endpoint", "Endpoint"]
"""A client's and a server's end."""
Remote = tuple[int, "Endpoint"]
"""A namespace, and an end seen from it."""


@dataclass(slots=True)
class Plain:
    """Connections that came by one address here, whatever became of them."""

    lives: int = 0
    accepts: int = 0
    wait_ns: int = 0


class Totals(NamedTuple):
    """What all connections of a trace come to.

    Attributes:
        came_in: to listeners here.
        connects: how many connect() calls there were.
    """

    came_in: Plain
    connects: int


class Slice:
    """Facts of one slice of time, or of several.

    Attributes:
        from_ns: when it began.
        readings: how often the ledger was read.
        listeners: facts by listener.
        remotes: facts by namespace and remote end.
        connects: connect() calls by namespace.
        calls: the same by remote end, where lives alone tell how many there are.
        plain: connections by namespace and local end, where lives alone tell how many there are.
        dropped: connections of which a listener here dropped a SYN or a final ACK, where both ends
            are known: its namespace.
        answered: the same of those whose SYN a listener here answered, again and again.
    """

    def __init__(self, from_ns: int) -> None:
        self.from_ns = from_ns
        self.readings = 0
        self.listeners: dict[Address, ListenerFacts] = {}
        self._well: set[Address] = set()
        self.remotes: dict[Remote, RemoteFacts] = {}
        self.connects: Counter[int] = Counter()
        self.calls: Counter[Remote] = Counter()
        self.plain: dict[Remote, Plain] = {}
        self.dropped: dict[Pair, int] = {}
        self.answered: dict[Pair, int] = {}

    def listener(self, address: Address, *, is_well: bool = False) -> ListenerFacts | None:
        """The facts of a listener, to be added to; None if too many others have some.

        Args:
            address: where.
            is_well: whether it has no trouble: it makes room for one that has.
        """
        facts = self.listeners.get(address)
        if not is_well:
            self._well.discard(address)
        if facts is not None:
            return facts
        if len(self.listeners) >= MOST_SUBJECTS:
            if is_well or not self._well:
                return None
            del self.listeners[self._well.pop()]
        if is_well:
            self._well.add(address)
        facts = self.listeners[address] = ListenerFacts()
        return facts

    def remote(self, netns: int, end: Endpoint) -> RemoteFacts | None:
        """The same of a remote end."""
        facts = self.remotes.get((netns, end))
        if facts is None and len(self.remotes) < MOST_SUBJECTS:
            facts = self.remotes[netns, end] = RemoteFacts()
        return facts

    def plain_of(self, netns: int, end: Endpoint) -> Plain | None:
        """Where the connections of a local end are counted."""
        plain = self.plain.get((netns, end))
        if plain is None and len(self.plain) < MOST_SUBJECTS:
            plain = self.plain[netns, end] = Plain()
        return plain

    def call(self, netns: int, end: Endpoint) -> None:
        """Counts a connect() call."""
        self.connects[netns] += 1
        if (netns, end) in self.calls or len(self.calls) < MOST_SUBJECTS:
            self.calls[netns, end] += 1

    def complete(self, totals: Totals) -> bool:
        """Gives what all connections come to, to the one end that they came by, if it is one.

        Between several nobody can tell.

        Returns:
            Whether it is known now how many there were of each.
        """
        missing = totals.came_in.lives > sum(plain.lives for plain in self.plain.values())
        if missing and len(self.plain) == 1:
            self.plain = dict.fromkeys(self.plain, totals.came_in)
            missing = False
        if totals.connects > self.connects.total():
            is_one = len(self.calls) == 1
            self.calls = Counter(dict.fromkeys(self.calls if is_one else (), totals.connects))
            if len(self.connects) != 1:
                return False
            self.connects = Counter(dict.fromkeys(self.connects, totals.connects))
        return not missing

    def absorb(self, other: Slice) -> None:
        """Adds what another slice has."""
        self.readings += other.readings
        self.connects.update(other.connects)
        self.calls.update(other.calls)
        for address, more in other.listeners.items():
            absorb(self.listeners.setdefault(address, ListenerFacts()), more)
        for remote, seen in other.remotes.items():
            absorb(self.remotes.setdefault(remote, RemoteFacts()), seen)
        for key, number in other.plain.items():
            plain = self.plain.setdefault(key, Plain())
            plain.lives += number.lives
            plain.accepts += number.accepts
            plain.wait_ns += number.wait_ns
        self.dropped |= other.dropped
        self.answered |= other.answered


def keep_pair(pairs: dict[Pair, int], pair: Pair | None, netns: int) -> None:
    """Notes a connection by its ends, and its listener's namespace, unless there are too many.

    Args:
        pairs: where.
        pair: None if the other end is not known here: nobody will ask for it.
        netns: the listener's.
    """
    if pair is not None and len(pairs) < MOST_PAIRS:
        pairs[pair] = netns


class Seen(NamedTuple):
    """What a window holds now."""

    facts: Slice
    length_ns: int


class Window:
    """Slices that follow each other.

    Args:
        began_ns: when the trace began: what lives tell of began then, not when the first one ended.
        length_ns: for how long facts count.
    """

    def __init__(self, began_ns: int, length_ns: int = WINDOW_NS) -> None:
        self._length_ns = length_ns
        self._slices = deque([Slice(began_ns)])

    def now(self, at_ns: int) -> Slice:
        """The slice of this time."""
        slices = self._slices
        if at_ns - slices[-1].from_ns >= self._length_ns // SLICES:
            slices.append(Slice(at_ns))
        self._forget(at_ns)
        return slices[-1]

    def seen(self, at_ns: int) -> Seen:
        """All facts of the window, added up."""
        self._forget(at_ns)
        begin_ns = self._slices[0].from_ns
        facts = Slice(begin_ns)
        for one in self._slices:
            facts.absorb(one)
        return Seen(facts, max(1, at_ns - begin_ns))

    def _forget(self, at_ns: int) -> None:
        slices = self._slices
        while len(slices) > 1 and slices[1].from_ns <= at_ns - self._length_ns:
            slices.popleft()
