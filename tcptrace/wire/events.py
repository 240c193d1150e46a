"""The one definition of what crosses the ring: a record, its kinds, its stages.

From it come the `struct` format (layout), the C header (cheader, written to bpf/wire.h) and
docs/events.md. One fixed-size record serves every kind, so that a whole batch decodes with one
`struct.iter_unpack`; a field that a kind has no use for is 0.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated, NamedTuple

WIRE_VERSION = 1
"""Grows when a record's layout or the meaning of a field changes; a recording carries it."""

STACK_DEPTH = 24
"""Kernel frames behind each record when a trace asks for stacks; unused ones are 0."""


class Wire(NamedTuple):
    """How one field lies in the record.

    Attributes:
        ctype: u8, u16, u32, u64, or `u8[N]` for raw bytes.
        unit: what the number counts; bytes and ids say so.
        source: the kernel's field or function that it is read from.
    """

    ctype: str
    unit: str
    source: str


class Record(NamedTuple):
    """One thing that happened to one kernel object."""

    at_ns: Annotated[int, Wire("u64", "ns, CLOCK_MONOTONIC", "bpf_ktime_get_ns()")]
    sock: Annotated[
        int, Wire("u64", "object id", "address of the object, XORed with the trace's secret")
    ]
    origin: Annotated[
        int,
        Wire("u64", "object id", "the object it came from: see the kind; 0 where there is none"),
    ]
    local: Annotated[
        bytes, Wire("u8[16]", "address, IPv4 mapped", "skc_rcv_saddr, skc_v6_rcv_saddr")
    ]
    remote: Annotated[bytes, Wire("u8[16]", "address, IPv4 mapped", "skc_daddr, skc_v6_daddr")]
    comm: Annotated[
        bytes, Wire("u8[16]", "bytes, NUL-padded", "task_struct.comm, process context only")
    ]
    netns: Annotated[int, Wire("u32", "inode number", "skc_net.net->ns.inum")]
    pid: Annotated[int, Wire("u32", "process id (tgid)", "process context only, else 0")]
    local_port: Annotated[int, Wire("u16", "port, host order", "inet_sport, skc_num, tw_sport")]
    remote_port: Annotated[int, Wire("u16", "port, host order", "skc_dport")]
    kind: Annotated[int, Wire("u8", "Kind", "the probe")]
    family: Annotated[int, Wire("u8", "AF_INET or AF_INET6", "skc_family")]
    old_state: Annotated[int, Wire("u8", "tcp.State", "skc_state before")]
    new_state: Annotated[int, Wire("u8", "tcp.State", "skc_state after, tw_substate")]
    accept_queue_len: Annotated[int, Wire("u32", "sockets", "sk_ack_backlog of the listener")]
    accept_queue_limit: Annotated[int, Wire("u32", "sockets", "sk_max_ack_backlog of the listener")]
    syn_queue_len: Annotated[
        int, Wire("u32", "request sockets", "icsk_accept_queue.qlen of the listener")
    ]
    retransmits: Annotated[
        int, Wire("u32", "segments", "tp->total_retrans, or the request's num_retrans")
    ]
    error: Annotated[int, Wire("u16", "errno", "sk_err")]
    stage: Annotated[int, Wire("u8", "Stage", "the probe")]
    flags: Annotated[int, Wire("u8", "Flag", "the probe")]
    cgroup: Annotated[
        int, Wire("u32", "cgroup v2 id; 0 if unknown, or beyond 32 bits", "sk_cgrp_data")
    ]
    """Where the socket was made; a SYN's and a request's is their listener's. Carried by what can
    be the first that is told of a life or a listener."""


class Kind(IntEnum):
    """What a record tells. `sock` is the object it happened to; `origin` where it came from."""

    STATE_CHANGED = 1
    """A full socket went from old_state to new_state (tcp_set_state and its siblings)."""
    CONNECT_SENT = 2
    """connect() has its port and sends the SYN (tcp_connect). Process context."""
    SYN_QUEUED = 3
    """A SYN made a request socket (sock) on a listener (origin); the SYN-ACK leaves."""
    SYN_COOKIE_SENT = 4
    """A SYN was answered with a cookie by a listener (origin); nothing is kept, sock is 0."""
    SYN_DROPPED = 5
    """A SYN was dropped by a listener (origin) at `stage`; there is no object, sock is 0."""
    CHILD_CREATED = 6
    """The final ACK of a request socket (origin) made a child socket (sock). By a cookie, or by the
    SYN alone (Fast Open), there was no request before: origin is the listener."""
    CHILD_DROPPED = 7
    """A child socket (sock) lost the race for its request, or its listener was closing."""
    ACK_DROPPED = 8
    """The final ACK of a request socket (sock) was dropped by a listener (origin) at `stage`."""
    REQUEST_DROPPED = 9
    """A request socket (sock) left the SYN queue of a listener (origin) without a child."""
    ACCEPTED = 10
    """accept() returned the child socket (sock). Process context."""
    SYN_RETRANSMITTED = 11
    """A SYN (or a SYN-ACK of a full socket) left again."""
    SYNACK_RETRANSMITTED = 12
    """The SYN-ACK of a request socket (sock) left again; `retransmits` as the hook finds it."""
    RESET_SENT = 13
    """A RST was sent for a socket (sock)."""
    RESET_RECEIVED = 14
    """A valid RST arrived for a socket (sock)."""
    TIMEWAIT_ENTERED = 15
    """A TIME_WAIT socket (sock) takes over from a full socket (origin), in new_state."""
    TIMEWAIT_STATE_CHANGED = 16
    """The peer's FIN reached a TIME_WAIT socket (sock) that stood in for FIN_WAIT2."""
    TIMEWAIT_RELEASED = 17
    """A TIME_WAIT socket (sock) is ended before its timer: reused, reset or purged."""
    TIMEWAIT_KILLED = 18
    """A TIME_WAIT socket (sock) left the hash tables: by its timer unless released before."""
    SEEN = 19
    """A snapshot found an object (sock) in old_state (skc_state); new_state is the same, but a
    TIME_WAIT socket's tw_substate. `origin` is a request socket's listener, and a full socket's
    inode number (not an object id), 0 if no process holds it."""
    MIGRATED = 20
    """A request socket, or a child that waits for accept() (sock), leaves its closed listener for
    another one (origin) of the same reuseport group."""


class Stage(IntEnum):
    """Where a listener refused or lost a connection, and why. Names are the metrics' labels."""

    NONE = 0
    SYN_ACCEPT_QUEUE_FULL = 1
    """SYN dropped: accept queue full (ListenOverflows, ListenDrops)."""
    SYN_SYN_QUEUE_FULL = 2
    """SYN dropped: SYN queue full, no cookies (TCPReqQFullDrop, ListenDrops)."""
    SYN_LAST_QUARTER = 3
    """SYN dropped without cookies: the last quarter of tcp_max_syn_backlog is for proven peers."""
    ACK_ACCEPT_QUEUE_FULL = 4
    """Final ACK dropped: accept queue full (ListenOverflows, ListenDrops)."""
    ABORT_ON_OVERFLOW = 5
    """The same, answered with a RST (tcp_abort_on_overflow)."""
    REQUEST_EXPIRED = 6
    """The SYN-ACK's last retransmit timer ran out: the final ACK never came, or was never taken."""
    LISTENER_CLOSED = 7
    """The listener went away under the connection."""
    OTHER = 8
    """Any other refusal: no memory, no route, a security module."""
    REQUEST_RESET = 9
    """The peer's RST (or a stray SYN) ended the half-open request: not the listener's doing."""


class Flag(IntFlag):
    """What else a record tells."""

    COOKIE = 1
    """The child came from a valid SYN cookie: its request was never in the SYN queue."""
    FASTOPEN = 2
    """The child was made by the SYN itself (TCP Fast Open)."""
    GRAFTED = 4
    """accept() was seen where the socket got its file, its return having been missed."""
