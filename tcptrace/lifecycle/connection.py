"""What is known of one connection: the joined life of its request, full and TIME_WAIT sockets.

A `Connection` is one end's view. Both ends on one host are two connections that name each other
in `peer_id`. Times are CLOCK_MONOTONIC nanoseconds; None means that it wasn't seen, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tcptrace.tcp import Endpoint, State, family_name

if TYPE_CHECKING:
    from tcptrace.wire.events import Kind, Stage


class Role(StrEnum):
    """Which end of the connection this life is."""

    CLIENT = "client"
    SERVER = "server"
    UNKNOWN = "unknown"
    """The life began before the trace."""


class Side(StrEnum):
    """Who closed first."""

    LOCAL = "local"
    REMOTE = "remote"
    BOTH = "both"
    """Both FINs crossed: simultaneous close."""


class How(StrEnum):
    """By what the connection ended."""

    FIN = "fin"
    RST_SENT = "rst_sent"
    RST_RECEIVED = "rst_received"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    ABORT = "abort"
    """tcp_abort: `ss -K`, or a BPF program."""
    UNREACHABLE = "unreachable"
    """An ICMP error, or no route."""
    LOCAL_ERROR = "local_error"
    """connect() failed before a SYN left: no free port, no route, no memory."""
    EXPIRED = "expired"
    """The request socket's last SYN-ACK timer ran out."""
    DROPPED = "dropped"
    """The listener dropped its SYNs (or, after a cookie, its final ACKs) each time: the peer gave
    up, or is still trying."""
    LISTENER_CLOSED = "listener_closed"
    GAVE_UP = "gave_up"
    """Its own process closed it before the handshake ended: a connect timeout of its own, say."""


class Outcome(StrEnum):
    """One word for how it went, for counting."""

    CLOSED = "closed"
    """Established, then closed by FINs."""
    RESET = "reset"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    ABORTED = "aborted"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    """connect() failed on this host."""
    SYN_DROPPED = "syn_dropped"
    EXPIRED = "expired"
    HALF_OPEN_RESET = "half_open_reset"
    """The peer reset it before its final ACK."""
    NEVER_ACCEPTED = "never_accepted"
    """Established, but gone before accept() took it."""
    GAVE_UP = "gave_up"
    """The connecting process closed it before it was established."""
    OPEN = "open"
    """Still going on when the trace ended."""
    UNKNOWN = "unknown"
    """Its end was lost; or no packet told of it: closed in repair mode, after a checkpoint."""


class Partial(StrEnum):
    """Why a life is not whole."""

    BEGAN_BEFORE = "began_before"
    """Its first record tells of a state that it was already in."""
    GAP = "gap"
    """A record is missing in between: a transition starts where the last one did not end."""
    END_LOST = "end_lost"
    """Its object's address began another life first, or a snapshot did not find it any more."""
    FOLDED = "folded"
    """So many were open that what was known of it until then was folded into counters."""


class Process(NamedTuple):
    """A process as the kernel named it: comm is untrusted bytes."""

    pid: int
    comm: bytes


@dataclass(slots=True)
class StateSpan:
    """One state of the life: when it was entered, and for how long it lasted."""

    state: State
    at_ns: int | None
    """None if it was entered before the trace, or unseen."""
    duration_ns: int | None = None
    """None while it lasts, and where its begin wasn't seen."""
    stack: tuple[int, ...] = ()
    """Kernel frames that made the transition, innermost first, as offsets from _stext."""


class Moment(NamedTuple):
    """Something that happened within a life without changing its state."""

    at_ns: int
    kind: Kind
    stage: Stage
    accept_queue_len: int
    accept_queue_limit: int
    syn_queue_len: int
    retransmits: int


@dataclass(slots=True)
class Connection:
    """One end's view of a connection, from its first kernel object to its last."""

    id: int
    """Unique within a trace, in the order of births."""
    role: Role
    family: int
    """The socket's own: an AF_INET6 socket may carry IPv4."""
    netns: int
    local: Endpoint
    remote: Endpoint
    cgroup: int = 0
    """Id of the cgroup (version 2) that its socket, or its listener, was made in; 0: unknown."""
    spans: list[StateSpan] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    moments_left_out: int = 0
    """How many more there were than a life keeps."""
    process: Process | None = None
    """Who connected (client) or accepted (server)."""
    listening_process: Process | None = None
    peer_id: int | None = None
    syn_at_ns: int | None = None
    """The first SYN: sent (client) or arrived, dropped or not (server)."""
    request_at_ns: int | None = None
    """Server: the SYN that made the request socket."""
    queued_at_ns: int | None = None
    """Server: the final ACK made the child, which waits in the accept queue from here."""
    established_at_ns: int | None = None
    accepted_at_ns: int | None = None
    timewait_at_ns: int | None = None
    ended_at_ns: int | None = None
    syn_retransmits: int = 0
    synack_retransmits: int = 0
    syn_drops: int = 0
    ack_drops: int = 0
    retransmits: int = 0
    """Segments sent again over the whole life, by the kernel's count (tp->total_retrans)."""
    error: int = 0
    """sk_err when it closed."""
    closed_by: Side | None = None
    closed_how: How | None = None
    outcome: Outcome = Outcome.OPEN
    timewait_end: str | None = None
    """How TIME_WAIT was left: `timer`, `reused` or `killed` (a RST, or its namespace went)."""
    cookie: bool = False
    fastopen: bool = False
    partial: frozenset[Partial] = frozenset()
    """Most lives are whole, and share the empty one."""

    @property
    def state(self) -> State | None:
        """The state it is in, or was in last."""
        return self.spans[-1].state if self.spans else None

    @property
    def began_ns(self) -> int | None:
        """The first time that is known of it."""
        times = [self.syn_at_ns, *(span.at_ns for span in self.spans)]
        return min((at for at in times if at is not None), default=None)

    @property
    def family_name(self) -> str:
        """`ipv4` or `ipv6`, by its packets."""
        return family_name(self.remote.address)

    @property
    def handshake_ns(self) -> int | None:
        """First SYN to ESTABLISHED."""
        return _between(self.syn_at_ns, self.established_at_ns)

    @property
    def syn_queue_wait_ns(self) -> int | None:
        """How long its request socket lay in the SYN queue before the final ACK was taken."""
        return _between(self.request_at_ns, self.queued_at_ns)

    @property
    def accept_wait_ns(self) -> int | None:
        """How long it lay in the accept queue before accept() took it."""
        return _between(self.queued_at_ns, self.accepted_at_ns)

    @property
    def waits_for_accept(self) -> bool:
        """Whether it lies in the accept queue, or lay there until its end: no process has it."""
        return (
            self.role is Role.SERVER
            and self.queued_at_ns is not None
            and self.accepted_at_ns is None
        )

    @property
    def gone_at_ns(self) -> int | None:
        """When its full socket was gone: a TIME_WAIT socket took over, or it reached CLOSE."""
        if self.timewait_at_ns is not None:
            return self.timewait_at_ns
        if self.spans and self.spans[-1].state is State.CLOSE:
            return self.spans[-1].at_ns
        return self.ended_at_ns

    @property
    def data_retransmits(self) -> int:
        """Segments sent again after the handshake; the kernel's count has its SYNs in it too."""
        return max(0, self.retransmits - self.syn_retransmits - self.synack_retransmits)


@dataclass(slots=True)
class Listener:
    """One listening socket, from LISTEN or its first record to CLOSE, or to now."""

    netns: int
    local: Endpoint
    process: Process | None = None
    opened_at_ns: int | None = None
    closed_at_ns: int | None = None
    accept_queue_limit: int = 0
    accept_queue_peak: int = 0
    """The longest seen by a record; the kernel's own peak may lie between two."""
    syn_queue_peak: int = 0
    drops: dict[Stage, int] = field(default_factory=dict)
    cookies_sent: int = 0
    cgroup: int = 0
    """Id of the cgroup (version 2) that it was made in; 0: unknown."""
    folded: int = 0
    """How many closed listeners it stands for, if it is not one but the sum of the oldest."""


def _between(start_ns: int | None, end_ns: int | None) -> int | None:
    if start_ns is None or end_ns is None:
        return None
    return max(0, end_ns - start_ns)
