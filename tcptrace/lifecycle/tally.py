"""Counts what an observer hears: totals and histograms in fixed buckets, since the trace began."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.connection import Connection, Listener, Outcome, Partial, Role
from tcptrace.lifecycle.counts import MOST_NAMESPACES, OTHER_NETNS
from tcptrace.lifecycle.figures import COUNTED, Origin, figure_of
from tcptrace.lifecycle.ledger import Address
from tcptrace.lifecycle.observer import Direction, Observer
from tcptrace.tcp import State, address_text
from tcptrace.wire.events import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ESTABLISHED: Final = "established"
CONNECT_OUTCOMES: Final = (
    ESTABLISHED,
    Outcome.REFUSED.value,
    Outcome.TIMEOUT.value,
    Outcome.RESET.value,
    Outcome.UNREACHABLE.value,
    Outcome.FAILED.value,
    Outcome.GAVE_UP.value,
    Outcome.ABORTED.value,
)
"""How a connect() may end; one whose end was lost is in none of them."""

MOST_WAITS: Final = 10_000
"""For how many listeners waits are kept; those of others are in the total alone."""

_NUMBERS: Final = max(State) + 1
_told_by: Final = itemgetter(
    *map(Record._fields.index, ("netns", "kind", "old_state", "new_state", "flags"))
)
_NOTHING_COUNTED: Final = {
    figure.name: 0 for figure in COUNTED.values() if figure.origin is Origin.RECORDS
}
_BEFORE_ESTABLISHED: Final = frozenset({State.SYN_SENT, State.SYN_RECV, State.CLOSE})


class Bounds(NamedTuple):
    """The buckets' upper bounds, ascending, ns; infinity goes without saying."""

    state_duration: Sequence[int]
    handshake: Sequence[int]
    syn_queue_wait: Sequence[int]
    accept_wait: Sequence[int]


_NONE: Final = Bounds((), (), (), ())

NATIVE_SCHEMA: Final = 3
"""Native buckets grow by 2 ** (1/8): 9 %."""
_NATIVE_STEPS: Final = 1 << NATIVE_SCHEMA
_NATIVE_FIRST: Final = -30 * _NATIVE_STEPS
"""The bucket of 1 ns."""
_NATIVE_BOUNDS_NS: Final = [
    int(2 ** (index / _NATIVE_STEPS) * 1e9)
    for index in range(_NATIVE_FIRST, 33 * _NATIVE_STEPS + 1)
]
"""As far as a duration's 63 bits go."""


class Buckets:
    """A histogram of durations: how many exceed the bound before, but not the one of their own.

    Attributes:
        sum_ns: of all that were added.
        native: counts by the index of a Prometheus native histogram's bucket, whose upper bound is
            2 ** (index / 8) seconds; None for 0.
    """

    __slots__ = ("bounds_ns", "counts", "native", "sum_ns")

    def __init__(self, bounds_ns: Sequence[int]) -> None:
        self.bounds_ns = bounds_ns
        self.counts = [0] * (len(bounds_ns) + 1)
        self.native: dict[int | None, int] = {}
        self.sum_ns = 0

    def add(self, value_ns: int) -> None:
        """Counts a duration in the first bucket whose bound it does not exceed."""
        self.add_alike(value_ns, 1)
        self.sum_ns += value_ns

    def add_alike(self, value_ns: int, count: int) -> None:
        """Counts durations that all lie in the buckets of one; their sum is the caller's."""
        self.counts[bisect_left(self.bounds_ns, value_ns)] += count
        index = bisect_left(_NATIVE_BOUNDS_NS, value_ns) + _NATIVE_FIRST if value_ns > 0 else None
        self.native[index] = self.native.get(index, 0) + count

    @property
    def native_bounds_ns(self) -> Sequence[int]:
        """The native buckets' upper bounds, ascending, whole ns."""
        return _NATIVE_BOUNDS_NS

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    @property
    def cumulative(self) -> list[int]:
        """How many were at most each bound; the last: how many there were."""
        return list(accumulate(self.counts))


class Tally(Observer):
    """The counts.

    By namespace it counts for MOST_NAMESPACES of them; the rest are added up as OTHER_NETNS.

    Args:
        bounds: of the histograms' buckets; none unless they are to be shown.

    Attributes:
        events: records by kind.
        figures: those that the kernel counts too, by namespace and figure's name.
        state_durations: how long sockets had been in a state, when they left it, by its number.
        handshakes: first SYN to ESTABLISHED, by role.
        syn_queue_wait: the SYN that made a request to the final ACK that was taken.
        accept_wait: the final ACK to accept().
        waits: the same by listener, for MOST_WAITS of them; the caller removes those that it tells
            of no more.
        connects: connect() calls by namespace and one of CONNECT_OUTCOMES.
        syn_retransmits: SYNs sent again by namespace and family.
        synack_retransmits: SYN-ACKs sent again by namespace and family.
        resets: RSTs by namespace, direction and the state of their socket.
        partial: lives that are over and not whole, by reason; one life can have several.
        heard: the namespaces that anything was told of since the caller cleared this.
    """

    def __init__(self, bounds: Bounds = _NONE) -> None:
        self.events: Counter[int] = Counter()
        self.figures: dict[int, Counter[str]] = {}
        self._transitions = [[0] * _NUMBERS for _ in range(_NUMBERS)]
        self.state_durations = [Buckets(bounds.state_duration) for _ in range(_NUMBERS)]
        self.handshakes = {role: Buckets(bounds.handshake) for role in Role}
        self.syn_queue_wait = Buckets(bounds.syn_queue_wait)
        self.accept_wait = Buckets(bounds.accept_wait)
        self.waits: dict[Address, AcceptWaits] = {}
        self.connects: Counter[tuple[int, str]] = Counter()
        self.syn_retransmits: Counter[tuple[int, str]] = Counter()
        self.synack_retransmits: Counter[tuple[int, str]] = Counter()
        self.resets: Counter[tuple[int, Direction, State]] = Counter()
        self.partial: Counter[Partial] = Counter()
        self.heard: set[int] = set()
        self._namespaces: set[int] = set()

    def fed(self, records: Sequence[Record]) -> None:
        """Counts records by kind, and those that the kernel counts too by namespace."""
        for (netns, *what), count in Counter(map(_told_by, records)).items():
            self.events[what[0]] += count
            self.heard.add(netns)
            figure = figure_of(*what)
            if figure is not None:
                self.figures.setdefault(self._told_as(netns), Counter())[figure] += count

    def changed(self, old: State, duration_ns: int | None, new: State) -> None:
        """Counts a transition."""
        self._transitions[old][new] += 1
        if duration_ns is not None:
            self.state_durations[old].add(duration_ns)

    @property
    def transitions(self) -> dict[tuple[State, State], int]:
        """How often sockets went from a state to another, where they did at all."""
        return {
            (old, new): self._transitions[old][new]
            for old in State
            for new in State
            if self._transitions[old][new]
        }

    def transitions_of(self, old: State) -> list[int]:
        """How often sockets went from this state to each, at its number; to be added to."""
        return self._transitions[old]

    def heard_of(self, netns: int, figures: Counter[str], is_connected: bool, lives: int) -> None:
        """Counts so many lives of one namespace that come to the same.

        Args:
            netns: its inode number.
            figures: what each of the lives counts in.
            is_connected: whether each is a connect() that was established.
            lives: how many.
        """
        self.heard.add(netns)
        told_as = self._told_as(netns) if figures or is_connected else netns
        for figure, number in figures.items():
            self.figures.setdefault(told_as, Counter())[figure] += number * lives
        if is_connected:
            self.connects[told_as, ESTABLISHED] += lives

    def counted(self, netns: int) -> Mapping[str, int]:
        """What the kernel counts too, by figure, zeros included; {} if it is not told apart."""
        if netns not in self._namespaces and len(self._namespaces) >= MOST_NAMESPACES:
            return {}
        return _NOTHING_COUNTED | self.figures.get(netns, {})

    def established(self, connection: Connection) -> None:
        """Counts a handshake, and a client's connect()."""
        handshake_ns = connection.handshake_ns
        if handshake_ns is not None:
            self.handshakes[connection.role].add(handshake_ns)
        if connection.role is Role.CLIENT:
            self.connects[self._told_as(connection.netns), ESTABLISHED] += 1

    def queued(self, connection: Connection) -> None:
        """Counts a wait in a SYN queue."""
        wait_ns = connection.syn_queue_wait_ns
        if wait_ns is not None:
            self.syn_queue_wait.add(wait_ns)

    def accepted(self, connection: Connection, listener: Listener | None) -> None:
        """Counts a wait in an accept queue."""
        wait_ns = connection.accept_wait_ns
        if wait_ns is None:
            return
        self.accept_wait.add(wait_ns)
        if listener is not None and connection.accepted_at_ns is not None:
            waits = self.waits_of(listener)
            if waits is not None:
                waits.add(wait_ns, connection.accepted_at_ns)

    def waits_of(self, listener: Listener) -> AcceptWaits | None:
        """What is counted of one listener's waits; None if they are too many."""
        local = listener.local
        address = Address(listener.netns, address_text(local.address), local.port)
        waits = self.waits.get(address)
        if waits is None and len(self.waits) < MOST_WAITS:
            waits = self.waits[address] = AcceptWaits()
        return waits

    def syn_retransmitted(self, netns: int, family: str) -> None:
        """Counts a SYN."""
        self.syn_retransmits[self._told_as(netns), family] += 1

    def synack_retransmitted(self, netns: int, family: str) -> None:
        """Counts a SYN-ACK."""
        self.synack_retransmits[self._told_as(netns), family] += 1

    def reset(self, netns: int, direction: Direction, state: State) -> None:
        """Counts a RST."""
        self.resets[self._told_as(netns), direction, state] += 1

    def over(self, connection: Connection) -> None:
        """Counts what a life lacks; and a connect() that failed, or whose success was not seen."""
        if connection.partial:
            self.partial.update(connection.partial)
        if connection.role is not Role.CLIENT or connection.established_at_ns is not None:
            return
        if any(span.state not in _BEFORE_ESTABLISHED for span in connection.spans):
            self.connects[self._told_as(connection.netns), ESTABLISHED] += 1
        elif connection.outcome in CONNECT_OUTCOMES:
            self.connects[self._told_as(connection.netns), connection.outcome.value] += 1

    @property
    def namespaces(self) -> set[int]:
        """Every namespace that anything is counted of by itself, listeners' waits aside."""
        return set(self._namespaces)

    def forget(self, netns: int) -> None:
        """Drops what is counted of a namespace that is gone; waits go with their listeners."""
        self._namespaces.discard(netns)
        self.figures.pop(netns, None)
        for counts in (self.connects, self.syn_retransmits, self.synack_retransmits):
            for key in [key for key in counts if key[0] == netns]:
                del counts[key]
        for reset in [key for key in self.resets if key[0] == netns]:
            del self.resets[reset]

    def _told_as(self, netns: int) -> int:
        known = self._namespaces
        if netns not in known:
            if len(known) < MOST_NAMESPACES:
                known.add(netns)
            else:
                netns = OTHER_NETNS
        self.heard.add(netns)
        return netns
