"""Streams of records as the probes send them, and what a tracker makes of them."""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self, TypedDict, Unpack

from tcptrace.lifecycle.connection import Partial, Process, Role
from tcptrace.lifecycle.folding import MOST_CONNECTIONS
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.tcp import Endpoint, State
from tcptrace.wire.events import Flag, Kind, Record, Stage
from unit import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.observer import Observer

CURL = Process(4321, b"curl")
NGINX = Process(1234, b"nginx")
HERE = 4026531840
"""The network namespace of everything that does not say otherwise."""


class Ends(NamedTuple):
    """Both ends of a socket, and where it is."""

    local: Endpoint
    remote: Endpoint
    family: int = socket.AF_INET
    netns: int = HERE

    @property
    def other_side(self) -> Self:
        return self._replace(local=self.remote, remote=self.local)

    @property
    def portless(self) -> Self:
        """As in SYN_SENT: connect() has not chosen its port."""
        return self._replace(local=Endpoint(self.local.address, 0))


CLIENT = Ends(samples.endpoint("10.0.0.2", 40_000), samples.endpoint("10.0.0.1", 8080))
SERVER = CLIENT.other_side
LISTENING = Ends(
    samples.endpoint("0.0.0.0", 8080),  # noqa: S104 - an address in a record
    samples.endpoint("0.0.0.0", 0),  # noqa: S104
)
NOTHING = Endpoint(bytes(16), 0)


class Fields(TypedDict, total=False):
    """What a record may tell besides its object, its kind and its time."""

    origin: int
    old_state: State
    new_state: State
    accept_queue_len: int
    accept_queue_limit: int
    syn_queue_len: int
    retransmits: int
    error: int
    stage: Stage
    flags: Flag
    cgroup: int


@dataclass
class Stream:
    """A trace's records, a microsecond apart unless time is told to pass."""

    now_ns: int = samples.START
    records: list[Record] = field(default_factory=list)
    before_telling: Callable[[], None] = lambda: None

    def wait(self, duration_ns: int) -> None:
        self.now_ns += duration_ns

    def tell(
        self,
        kind: Kind,
        sock: int,
        ends: Ends,
        process: Process | None = None,
        **fields: Unpack[Fields],
    ) -> int:
        """Adds a record; returns its time."""
        self.before_telling()
        self.now_ns += samples.US
        pid, comm = process or (0, b"")
        blank = Record(
            at_ns=self.now_ns,
            sock=sock,
            origin=0,
            local=ends.local.address,
            remote=ends.remote.address,
            comm=comm.ljust(16, b"\0"),
            netns=ends.netns,
            pid=pid,
            local_port=ends.local.port,
            remote_port=ends.remote.port,
            kind=kind,
            family=ends.family,
            old_state=0,
            new_state=0,
            accept_queue_len=0,
            accept_queue_limit=0,
            syn_queue_len=0,
            retransmits=0,
            error=0,
            stage=Stage.NONE,
            flags=0,
            cgroup=0,
        )
        self.records.append(blank._replace(**fields))
        return self.now_ns

    def goes(
        self,
        sock: int,
        ends: Ends,
        *states: State,
        process: Process | None = None,
        **fields: Unpack[Fields],
    ) -> int:
        """A full socket goes from the first state through the others; returns the last time."""
        for old, new in itertools.pairwise(states):
            fields["old_state"], fields["new_state"] = old, new
            self.tell(Kind.STATE_CHANGED, sock, ends, process, **fields)
        return self.now_ns


class Lives:
    """What a tracker told: every life once when closed and once when ended, in that order."""

    def __init__(self, observer: Observer | None = None, most: int = MOST_CONNECTIONS) -> None:
        self.tracker = Tracker(self._closed, self._ended, observer, most)
        self.closed: list[Connection] = []
        self.ended: list[Connection] = []

    def _closed(self, connection: Connection) -> None:
        assert not any(connection.id == known.id for known in self.closed), "closed twice"
        self.closed.append(connection)

    def _ended(self, connection: Connection) -> None:
        was_told = any(connection.id == known.id for known in self.closed)
        assert was_told or Partial.FOLDED in connection.partial, "ended before it was closed"
        assert not any(connection.id == known.id for known in self.ended), "ended twice"
        self.ended.append(connection)

    @classmethod
    def of(cls, records: Iterable[Record], now_ns: int) -> Self:
        """Feeds a whole trace."""
        lives = cls()
        for record in records:
            lives.tracker.feed([record])
            lives.tracker.advance(record.at_ns)
        lives.finish(now_ns)
        return lives

    def finish(self, now_ns: int) -> None:
        """Ends the trace; nothing may be left."""
        self.tracker.finish(now_ns)
        self.check_nothing_left()
        folded = sum(Partial.FOLDED in life.partial for life in self.ended)
        kept = len(self.ended) - folded
        assert kept <= len(self.closed) <= len(self.ended) + self.tracker.folded

    def check_nothing_left(self) -> None:
        registry = self.tracker._registry
        assert self.tracker.open_count == 0
        assert not registry.objects
        assert not registry.objects.frozen
        assert not registry._held
        assert not registry._ends._lives
        assert not registry._ends.frozen
        assert not len(registry.waiting)
        for place in (
            one for places in registry.counts._places.values() for one in places.values()
        ):
            place.by_state[State.LISTEN] = place.folded[State.LISTEN] = 0
            assert place.by_state == place.folded
            place.roles[Role.UNKNOWN] -= place.folded[State.TIME_WAIT]
            assert not any(place.roles.values())
            assert not place.close_waits
            assert not place.time_waits


def story(connection: Connection) -> str:
    """What happened to it in one line: role, states, who closed how, outcome, why it is partial."""
    states = "→".join(span.state.name for span in connection.spans)
    closed = " ".join(filter(None, (connection.closed_by, connection.closed_how)))
    partial = ", ".join(sorted(connection.partial))
    told = (connection.role, states, closed, connection.outcome, connection.timewait_end, partial)
    return " | ".join(part for part in told if part)
