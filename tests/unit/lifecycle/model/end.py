"""One end of a connection: its objects in the kernel, its records, and what its life comes to."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple, Unpack

from tcptrace.lifecycle.connection import Connection, How, Moment, Outcome, Role, Side, StateSpan
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit.lifecycle.stream import CURL, NGINX, Ends, Fields, Stream

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Listener

S = State


class Object(NamedTuple):
    """A socket of some kind in the kernel's hash tables, as a snapshot finds it."""

    ends: Ends
    state: State
    is_timewait: bool = False
    origin: int = 0
    is_hashed: bool = True
    """connect() enters SYN_SENT before it hashes its socket."""


class Tables(NamedTuple):
    """All of them at one moment."""

    objects: dict[int, Object]
    is_settled: bool
    """Whether the records tell of all of it."""


class Host:
    """What all connections share: time, objects, and the books."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.lives: list[Connection] = []
        """In the order of their births; the ids that are missing are of lives that nobody tells."""
        self.listeners: list[Listener] = []
        self.births = count(1)
        self._addresses = count(0x1000)
        self._free: list[int] = []
        self.kernel: dict[int, Object] = {}
        """What the kernel has in its hash tables now."""
        self.unsettled = 0
        """How many connections are at a step whose objects the records do not tell."""
        self.history: list[Tables] = []
        """What the kernel had before each record."""
        self.stream.before_telling = self.remember

    def remember(self) -> None:
        """Keeps what the kernel has now."""
        self.history.append(Tables(dict(self.kernel), not self.unsettled))

    def allocate(self) -> int:
        return self._free.pop() if self._free else next(self._addresses)

    def free(self, sock: int) -> None:
        self._free.append(sock)
        self.kernel.pop(sock, None)


_UNTOLD: Final = (Kind.STATE_CHANGED, Kind.CONNECT_SENT, Kind.CHILD_DROPPED)
"""Kinds that are no moment of a life; nor are those about TIME_WAIT sockets."""


@dataclass
class End:
    """One end of one connection: where its life is in the kernel, and what it comes to."""

    host: Host
    ends: Ends
    role: Role
    is_seen: bool
    sock: int = 0
    state: State = S.CLOSE
    life: Connection = field(init=False)

    def __post_init__(self) -> None:
        ends = self.ends
        self.life = Connection(0, self.role, ends.family, ends.netns, ends.local, ends.remote)

    @property
    def now_ns(self) -> int:
        return self.host.stream.now_ns

    def be_born(self) -> None:
        """The next record is the first that tells of this life."""
        if self.is_seen:
            self.life.id = next(self.host.births)
            self.host.lives.append(self.life)

    def tell(
        self,
        kind: Kind,
        sock: int | None = None,
        ends: Ends | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """Sends a record, if this end is seen, and keeps it as a moment where it is one."""
        if not self.is_seen:
            return
        named = CURL if kind is Kind.CONNECT_SENT else NGINX if kind is Kind.ACCEPTED else None
        self.host.stream.tell(
            kind, self.sock if sock is None else sock, ends or self.ends, named, **fields
        )
        if kind is Kind.CONNECT_SENT:
            self.be_in(S.SYN_SENT)
        if kind not in _UNTOLD and not kind.name.startswith("TIMEWAIT"):
            self.life.moments.append(
                Moment(
                    self.now_ns,
                    kind,
                    fields.get("stage", Stage.NONE),
                    fields.get("accept_queue_len", 0),
                    fields.get("accept_queue_limit", 0),
                    fields.get("syn_queue_len", 0),
                    fields.get("retransmits", 0),
                )
            )

    def enter(self, state: State) -> None:
        """Writes down that the last record told of this state."""
        self.state = state
        self.be_in(state, is_hashed=state is not S.SYN_SENT)
        if self.life.spans:
            last = self.life.spans[-1]
            assert last.at_ns is not None
            last.duration_ns = self.now_ns - last.at_ns
        self.life.spans.append(StateSpan(state, self.now_ns))

    def be_in(
        self, state: State, *, is_timewait: bool = False, origin: int = 0, is_hashed: bool = True
    ) -> None:
        """What the kernel's tables have of this end."""
        kernel = self.host.kernel
        kernel.pop(self.sock, None)
        if self.is_seen and state is not S.CLOSE:
            is_timewait |= state is S.TIME_WAIT
            kernel[self.sock] = Object(self.ends, state, is_timewait, origin, is_hashed)

    def go(self, *states: State, error: int = 0, retransmits: int = 0) -> None:
        """A full socket changes its state."""
        for state in states:
            self.tell(
                Kind.STATE_CHANGED,
                old_state=self.state,
                new_state=state,
                error=error,
                retransmits=retransmits,
            )
            self.enter(state)
            if state is S.ESTABLISHED:
                self.life.established_at_ns = self.now_ns
        self.life.retransmits = max(self.life.retransmits, retransmits)

    def close(
        self,
        how: How | None,
        outcome: Outcome,
        by: Side | None = None,
        error: int = 0,
        retransmits: int = 0,
    ) -> None:
        """A full socket goes to CLOSE and is freed."""
        self.go(S.CLOSE, error=error, retransmits=retransmits)
        self.life.error = error
        self.conclude(how, outcome, by)
        self.host.free(self.sock)

    def conclude(self, how: How | None, outcome: Outcome, by: Side | None) -> None:
        self.life.closed_how, self.life.outcome = how, outcome
        self.life.closed_by = self.life.closed_by or by
        self.life.ended_at_ns = self.now_ns

    def reset(self) -> None:
        """close() with linger 0: the RST follows CLOSE."""
        self.close(How.RST_SENT, Outcome.RESET, Side.LOCAL)
        self.tell(Kind.RESET_SENT, old_state=S.CLOSE)

    def be_reset(self, state: State) -> None:
        self.tell(Kind.RESET_RECEIVED, old_state=state)
        error = errno.EPIPE if state is S.CLOSE_WAIT else errno.ECONNRESET
        self.close(How.RST_RECEIVED, Outcome.RESET, Side.REMOTE, error)

    def send_fin(self, state: State) -> None:
        self.go(state)
        if state is S.FIN_WAIT1:
            self.life.closed_by = Side.LOCAL

    def finish(self) -> None:
        """LAST_ACK is acknowledged."""
        self.close(How.FIN, Outcome.CLOSED)

    def enter_timewait(self, state: State) -> None:
        """A TIME_WAIT socket takes over, and the full one is freed."""
        full, old = self.sock, self.state
        self.sock = self.host.allocate()
        self.tell(Kind.TIMEWAIT_ENTERED, origin=full, old_state=old, new_state=state)
        self.host.kernel.pop(full, None)
        self.be_in(state, is_timewait=True)
        if state is S.TIME_WAIT:
            self._begin_timewait()
        self.tell(Kind.STATE_CHANGED, full, old_state=old, new_state=S.CLOSE)
        self.host.free(full)

    def get_last_fin(self) -> None:
        """The FIN reaches the TIME_WAIT socket that stands in for FIN_WAIT2."""
        self.tell(Kind.TIMEWAIT_STATE_CHANGED, new_state=S.TIME_WAIT)
        self._begin_timewait()

    def _begin_timewait(self) -> None:
        self.enter(S.TIME_WAIT)
        self.life.timewait_at_ns = self.now_ns
        self.life.closed_how, self.life.outcome = How.FIN, Outcome.CLOSED

    def leave_timewait(self, how: str) -> None:
        if how != "timer":
            self.tell(Kind.TIMEWAIT_RELEASED, new_state=self.state)
        self.tell(Kind.TIMEWAIT_KILLED, new_state=self.state)
        if self.state is S.TIME_WAIT:
            self.life.timewait_end = how
        else:
            self.life.closed_how, self.life.outcome = How.TIMEOUT, Outcome.TIMEOUT
        self.enter(S.CLOSE)
        self.life.ended_at_ns = self.now_ns
        self.host.free(self.sock)


def link(one: End, other: End) -> None:
    one.life.peer_id, other.life.peer_id = other.life.id, one.life.id
