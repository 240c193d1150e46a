"""What is told of now: last drops, slow and failed handshakes, queues over 15 minutes, rates. Pure.

Everything in here is bounded, whatever the host does. What is told is what records and readings of
the ledger told, nothing else; of slow lives of plain course a bounded number is rebuilt (slow).
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Outcome
from tcptrace.lifecycle.life import STAGES, remote_of
from tcptrace.lifecycle.observer import Observer
from tcptrace.lifecycle.queue_history import STEP_NS, STEPS, QueueHistory
from tcptrace.lifecycle.slow import SLOW_NS, slowness_ns
from tcptrace.tcp import State
from tcptrace.wire.events import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.connection import Connection, Listener
    from tcptrace.lifecycle.ledger import Address, Listening
    from tcptrace.tcp import Endpoint
    from tcptrace.wire.events import Record

KEPT_NS: Final = STEP_NS * STEPS
"""For how long anything is told here: 15 minutes."""
MOST_DROPS: Final = 200
MOST_FAILED: Final = 100
MOST_SLOW: Final = 16
"""Of slow lives: so many of each minute, the slowest."""
RATE_WINDOW_NS: Final = 5_000_000_000
_MINUTE_NS: Final = 60_000_000_000
_IN_HANDSHAKE: Final = (State.SYN_SENT, State.NEW_SYN_RECV, State.SYN_RECV, State.CLOSE)
_UNKNOWN_ENDS: Final = (Outcome.OPEN, Outcome.UNKNOWN)


class Drop(NamedTuple):
    """A SYN, a final ACK or a request that a listener refused or lost.

    Attributes:
        record: of the drop: at_ns, netns, queues.
        listener: where; its owner and true address may have become known since.
    """

    record: Record
    listener: Listener

    @property
    def stage(self) -> Stage:
        """At which stage."""
        return STAGES.get(self.record.stage, Stage.OTHER)

    @property
    def peer(self) -> Endpoint:
        """Whose it was."""
        return remote_of(self.record)


def has_failed(connection: Connection) -> bool:
    """Whether the handshake of a life that is over came to nothing, or nobody accepted it."""
    if connection.outcome is Outcome.NEVER_ACCEPTED:
        return True
    if connection.outcome in _UNKNOWN_ENDS or connection.established_at_ns is not None:
        return False
    return all(span.state in _IN_HANDSHAKE for span in connection.spans)


class Recent(Observer):
    """The last 15 minutes, but for what is too much; to be told by a tracker and its ledger.

    Attributes:
        drops: the last MOST_DROPS, the latest last.
        drop_count: how many there were since the trace began.
        failed: the last MOST_FAILED lives whose handshake failed, the latest last.
        failed_count: how many failed since the trace began, by outcome.
        queues: every listener's last 15 minutes.
        transitions: how often sockets went from a state to another, a second, over RATE_WINDOW_NS.
    """

    def __init__(self) -> None:
        self.drops: deque[Drop] = deque(maxlen=MOST_DROPS)
        self.drop_count = 0
        self.failed: deque[Connection] = deque(maxlen=MOST_FAILED)
        self.failed_count: Counter[Outcome] = Counter()
        self.queues = QueueHistory()
        self.transitions: dict[tuple[State, State], float] = {}
        self._slow = _Slowest()
        self._passed: deque[tuple[int, Mapping[tuple[State, State], int]]] = deque()

    @property
    def slow(self) -> list[Connection]:
        """The slowest lives of each minute, the slowest first; see slow.SLOW_NS."""
        return self._slow.all

    def find(self, number: int) -> Connection | None:
        """One of the lives that are told of here, by its id."""
        lives = (*self.failed, *self.slow)
        return next((life for life in lives if life.id == number), None)

    # What a tracker tells.

    def dropped(self, record: Record, listener: Listener) -> None:
        """Keeps a drop."""
        self.drop_count += 1
        self.drops.append(Drop(record, listener))

    def established(self, connection: Connection) -> None:
        """Keeps a life whose handshake was slow."""
        if slowness_ns(connection) >= SLOW_NS and connection.established_at_ns is not None:
            self._slow.add(connection, connection.established_at_ns)

    def accepted(self, connection: Connection, listener: Listener | None) -> None:  # noqa: ARG002
        """Keeps one that waited long for accept()."""
        if slowness_ns(connection) >= SLOW_NS and connection.accepted_at_ns is not None:
            self._slow.add(connection, connection.accepted_at_ns)

    def over(self, connection: Connection) -> None:
        """Keeps one whose handshake failed."""
        if has_failed(connection):
            self.failed_count[connection.outcome] += 1
            self.failed.append(connection)

    # What a reading of the ledger tells.

    def take(
        self,
        listeners: Iterable[Listening],
        waits: Mapping[Address, AcceptWaits],
        transitions: Mapping[tuple[State, State], int],
        at_ns: int,
    ) -> None:
        """Takes note of a reading.

        Args:
            listeners: every one, as of now.
            waits: for accept(), by listener.
            transitions: how many there were since the trace began.
            at_ns: when.
        """
        self.queues.take(listeners, waits, at_ns)
        self._reckon(transitions, at_ns)
        self._slow.forget(at_ns - KEPT_NS)
        while self.drops and self.drops[0].record.at_ns < at_ns - KEPT_NS:
            self.drops.popleft()
        while self.failed and (self.failed[0].ended_at_ns or 0) < at_ns - KEPT_NS:
            self.failed.popleft()

    def _reckon(self, transitions: Mapping[tuple[State, State], int], at_ns: int) -> None:
        passed = self._passed
        passed.append((at_ns, transitions))
        while len(passed) > 1 and passed[1][0] <= at_ns - RATE_WINDOW_NS:
            passed.popleft()
        began_ns, before = passed[0]
        seconds = (at_ns - began_ns) / 1e9
        self.transitions = {
            which: (count - before.get(which, 0)) / seconds if seconds else 0.0
            for which, count in transitions.items()
        }


class _Slowest:
    """The slowest lives of each minute."""

    def __init__(self) -> None:
        self._minutes: dict[int, dict[int, Connection]] = {}
        self._floor_ns: dict[int, int] = {}

    @property
    def all(self) -> list[Connection]:
        """The slowest first; one that was slow in two minutes once."""
        lives = {number: one for minute in self._minutes.values() for number, one in minute.items()}
        return sorted(lives.values(), key=slowness_ns, reverse=True)

    def add(self, connection: Connection, at_ns: int) -> None:
        """A life was found slow then."""
        minute = at_ns // _MINUTE_NS
        lives = self._minutes.setdefault(minute, {})
        if slowness_ns(connection) <= self._floor_ns.get(minute, 0):
            return
        lives[connection.id] = connection
        if len(lives) > MOST_SLOW:
            fastest = min(lives, key=lambda number: slowness_ns(lives[number]))
            self._floor_ns[minute] = slowness_ns(lives.pop(fastest))

    def forget(self, before_ns: int) -> None:
        """What was before that is told no more."""
        for minute in [one for one in self._minutes if one < before_ns // _MINUTE_NS]:
            del self._minutes[minute]
            self._floor_ns.pop(minute, None)
