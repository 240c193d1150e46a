"""What a whole trace comes to: connections by outcome, waits, both queues of each listener, drops.

Adds up finished lives and listeners; the memory it takes does not grow with the connections.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Connection, Listener, Outcome, Partial, Process, Role
from tcptrace.lifecycle.histogram import Histogram
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcptrace.wire.events import Stage

MOST_LONE_ENDS: Final = 100_000
"""How many lives wait for their other end's to be added; of a few it never comes."""


class Waits(NamedTuple):
    """How long some lives took to be established, and waited in each queue; ns."""

    handshake: Histogram
    syn_queue: Histogram
    accept: Histogram


class Summary:
    """Accumulates a trace.

    Attributes:
        outcomes: how many lives ended how, by role.
        handshakes: first SYN to ESTABLISHED in ns, by role.
        syn_queue_wait: ns that request sockets lay in SYN queues until their final ACK was taken.
        accept_wait: ns that sockets lay in accept queues until accept() took them.
        syn_retransmits: SYNs that clients on this host sent again.
        synack_retransmits: SYN-ACKs that listeners on this host sent again.
        data_retransmits: other segments sent again.
        partial: lives that are not whole, by reason; one life can have several.
        partial_count: lives that are not whole.
        open_states: the states of the lives that were still open.
        close_wait_holders: the processes that still held connections in CLOSE_WAIT, and how many;
            None stands for lives whose process wasn't seen.
        close_wait_queued: connections in CLOSE_WAIT that accept() had not taken: nobody holds them.
        pairs: connections with both ends among the lives.
        cookies: connections that came from a SYN cookie.
        fastopen: connections that the SYN itself opened (TCP Fast Open).
        listeners: every listener seen, in the order in which they were added.
        drops: what all listeners dropped or lost, by stage.
        cookies_sent: SYN cookies that all listeners sent.
        folded: how often a connection was folded, since too many were open.
    """

    def __init__(self) -> None:
        self.outcomes: dict[Role, Counter[Outcome]] = {role: Counter() for role in Role}
        self.handshakes = {role: Histogram() for role in Role}
        self.syn_queue_wait = Histogram()
        self.accept_wait = Histogram()
        self.syn_retransmits = 0
        self.synack_retransmits = 0
        self.data_retransmits = 0
        self.partial: Counter[Partial] = Counter()
        self.partial_count = 0
        self.open_states: Counter[State] = Counter()
        self.close_wait_holders: Counter[Process | None] = Counter()
        self.close_wait_queued = 0
        self.pairs = 0
        self._lone_ends: OrderedDict[int, None] = OrderedDict()
        self.cookies = 0
        self.fastopen = 0
        self.listeners: list[Listener] = []
        self.drops: Counter[Stage] = Counter()
        self.cookies_sent = 0
        self.folded = 0

    @property
    def connection_count(self) -> int:
        """How many connections they were: both ends of one on this host are two lives."""
        return sum(counter.total() for counter in self.outcomes.values()) - self.pairs

    def add(self, connection: Connection) -> None:
        """Adds a life whose full socket is gone, or which the end of the trace cut off."""
        self.outcomes[connection.role][connection.outcome] += 1
        _add_known(self.handshakes[connection.role], connection.handshake_ns)
        _add_known(self.syn_queue_wait, connection.syn_queue_wait_ns)
        _add_known(self.accept_wait, connection.accept_wait_ns)
        self.syn_retransmits += connection.syn_retransmits
        self.synack_retransmits += connection.synack_retransmits
        self.data_retransmits += connection.data_retransmits
        self.partial.update(connection.partial)
        self.partial_count += bool(connection.partial)
        self.cookies += connection.cookie
        self.fastopen += connection.fastopen
        self._pair(connection)
        if connection.outcome is Outcome.OPEN and connection.state is not None:
            self.open_states[connection.state] += 1
            if connection.state is State.CLOSE_WAIT and connection.waits_for_accept:
                self.close_wait_queued += 1
            elif connection.state is State.CLOSE_WAIT:
                self.close_wait_holders[connection.process] += 1

    def add_alike(self, connection: Connection, count: int, waits: Waits, pairs: int) -> None:
        """Adds lives that are alike but for their times, of which nothing went wrong.

        Args:
            connection: one of them.
            count: how many.
            waits: theirs.
            pairs: connections both of whose ends are among them, or one whose other end was added
                alike already.
        """
        self.outcomes[connection.role][connection.outcome] += count
        self.handshakes[connection.role].absorb(waits.handshake)
        self.syn_queue_wait.absorb(waits.syn_queue)
        self.accept_wait.absorb(waits.accept)
        self.cookies += connection.cookie * count
        self.fastopen += connection.fastopen * count
        self.pairs += pairs

    def _pair(self, connection: Connection) -> None:
        """Counts a connection whose other end was added before; remembers it until that comes."""
        if connection.peer_id is None:
            return
        if connection.peer_id in self._lone_ends:
            del self._lone_ends[connection.peer_id]
            self.pairs += 1
        else:
            self._lone_ends[connection.id] = None
            if len(self._lone_ends) > MOST_LONE_ENDS:
                self._lone_ends.popitem(last=False)

    def add_listeners(self, listeners: Iterable[Listener]) -> None:
        """Adds listeners, each once, as they stand at the end of the trace."""
        for listener in listeners:
            self.listeners.append(listener)
            self.drops.update(listener.drops)
            self.cookies_sent += listener.cookies_sent

    def add_folded(self, folded: int, still_open: Mapping[State, int]) -> None:
        """Adds what was not kept.

        Args:
            folded: how often a connection was folded; most have been told of since, as partial.
            still_open: how many of them are still open.
        """
        self.folded += folded
        self.open_states.update(still_open)


def _add_known(histogram: Histogram, value: int | None) -> None:
    if value is not None:
        histogram.add(value)
