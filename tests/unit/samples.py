"""Lives and heads that look like real ones, for tests of everything behind the tracker."""

from __future__ import annotations

import socket
import struct

from tcptrace.lifecycle.connection import (
    Connection,
    How,
    Listener,
    Outcome,
    Partial,
    Process,
    Role,
    Side,
    StateSpan,
)
from tcptrace.lifecycle.connection import Moment as LifeMoment
from tcptrace.tcp import MAPPED_PREFIX, Endpoint, State
from tcptrace.wire.events import WIRE_VERSION, Kind, Record, Stage
from tcptrace.wire.head import AttachedHook, Losses, TraceHead
from tcptrace.wire.layout import RECORD_FORMAT, RECORD_SIZE

US = 1_000
MS = 1_000_000
S = 1_000_000_000
START = 5_000 * S
"""When sample traces begin, on CLOCK_MONOTONIC."""
NO_LOSSES = Losses(0, {}, ())
WEB = Process(1234, b"nginx")
CURL = Process(4321, b"curl")


def endpoint(text: str, port: int) -> Endpoint:
    if ":" in text:
        return Endpoint(socket.inet_pton(socket.AF_INET6, text), port)
    return Endpoint(MAPPED_PREFIX + socket.inet_pton(socket.AF_INET, text), port)


def head(*, stacks: bool = False, what: str = "port 8080") -> TraceHead:
    return TraceHead(
        wire_version=WIRE_VERSION,
        record_size=RECORD_SIZE,
        stacks=stacks,
        kernel="6.1.0-28-amd64",
        machine="x86_64",
        hostname="web-3",
        began_monotonic_ns=START,
        began_realtime_ns=1_763_759_823 * S,
        what=what,
        port=8080,
        carrier="fentry",
        hooks=(AttachedHook("tcp_set_state", "fentry"), AttachedHook("inet_csk_accept", "fexit")),
        uncompared=("TW+TWKilled",),
    )


def record(at_ns: int = START, kind: Kind = Kind.STATE_CHANGED, sock: int = 1) -> Record:
    local, remote = endpoint("10.0.0.1", 8080), endpoint("10.0.0.2", 53412)
    return Record(
        at_ns=at_ns,
        sock=sock,
        origin=0,
        local=local.address,
        remote=remote.address,
        comm=b"nginx".ljust(16, b"\0"),
        netns=4026531840,
        pid=1234,
        local_port=local.port,
        remote_port=remote.port,
        kind=kind,
        family=socket.AF_INET,
        old_state=State.SYN_RECV,
        new_state=State.ESTABLISHED,
        accept_queue_len=0,
        accept_queue_limit=5,
        syn_queue_len=0,
        retransmits=0,
        error=0,
        stage=Stage.NONE,
        flags=0,
        cgroup=0,
    )


def moment(  # noqa: PLR0913, PLR0917 - a record's queues are what they are
    at_ns: int,
    kind: Kind,
    stage: Stage = Stage.NONE,
    accept_len: int = 0,
    limit: int = 5,
    syn_len: int = 0,
    retransmits: int = 0,
) -> LifeMoment:
    return LifeMoment(at_ns, kind, stage, accept_len, limit, syn_len, retransmits)


def spans(*states: tuple[State, int | None, int | None]) -> list[StateSpan]:
    return [StateSpan(state, at_ns, duration_ns) for state, at_ns, duration_ns in states]


def server(at_ns: int = START + S, number: int = 7) -> Connection:
    """A whole server life: accepted after 1.2 ms, closed by the peer after 3.2 s."""
    established = at_ns + 112 * US
    closing = established + 3200 * MS
    return Connection(
        id=number,
        role=Role.SERVER,
        family=socket.AF_INET,
        netns=4026531840,
        local=endpoint("10.0.0.1", 8080),
        remote=endpoint("10.0.0.2", 53412),
        spans=spans(
            (State.NEW_SYN_RECV, at_ns, 102 * US),
            (State.SYN_RECV, at_ns + 102 * US, 10 * US),
            (State.ESTABLISHED, established, 3200 * MS),
            (State.CLOSE_WAIT, closing, 200 * US),
            (State.LAST_ACK, closing + 200 * US, 90 * US),
            (State.CLOSE, closing + 290 * US, None),
        ),
        process=WEB,
        listening_process=WEB,
        syn_at_ns=at_ns,
        request_at_ns=at_ns,
        queued_at_ns=at_ns + 102 * US,
        established_at_ns=established,
        accepted_at_ns=at_ns + 1300 * US,
        ended_at_ns=closing + 290 * US,
        closed_by=Side.REMOTE,
        closed_how=How.FIN,
        outcome=Outcome.CLOSED,
    )


def overflowed(at_ns: int = START + 2 * S, number: int = 8) -> Connection:
    """A server life whose SYN was dropped once, whose final ACK twice, and which got in at last."""
    life = server(at_ns + 1021 * MS, number)
    life.syn_at_ns = at_ns
    life.syn_drops, life.ack_drops, life.synack_retransmits = 1, 2, 2
    request = at_ns + 1021 * MS
    full = Stage.ACK_ACCEPT_QUEUE_FULL
    life.moments = [
        moment(at_ns, Kind.SYN_DROPPED, Stage.SYN_ACCEPT_QUEUE_FULL, 2, 1),
        moment(request, Kind.SYN_QUEUED, Stage.NONE, 1, 1, 1),
        moment(request + 50 * US, Kind.ACK_DROPPED, full, 2, 1, 1),
        moment(request + 60 * US, Kind.SYNACK_RETRANSMITTED, Stage.NONE, 2, 1, 1, 1),
        moment(request + 70 * US, Kind.ACK_DROPPED, full, 2, 1, 1),
        moment(request + 1300 * US, Kind.ACCEPTED, Stage.NONE, 0, 1, 0),
    ]
    return life


def client(at_ns: int = START + S, number: int = 6) -> Connection:
    """A whole client life that closed first: SYN retransmitted twice, then TIME_WAIT."""
    established = at_ns + 3060 * MS
    return Connection(
        id=number,
        role=Role.CLIENT,
        family=socket.AF_INET,
        netns=4026531840,
        local=endpoint("10.0.0.1", 53412),
        remote=endpoint("10.0.0.2", 8080),
        spans=spans(
            (State.SYN_SENT, at_ns, 3060 * MS),
            (State.ESTABLISHED, established, 30 * MS),
            (State.FIN_WAIT1, established + 30 * MS, 50 * US),
            (State.FIN_WAIT2, established + 30 * MS + 50 * US, 100 * US),
            (State.TIME_WAIT, established + 30 * MS + 150 * US, None),
        ),
        moments=[
            moment(at_ns + 1020 * MS, Kind.SYN_RETRANSMITTED, retransmits=1),
            moment(at_ns + 3040 * MS, Kind.SYN_RETRANSMITTED, retransmits=2),
        ],
        process=CURL,
        peer_id=number + 1,
        syn_at_ns=at_ns,
        established_at_ns=established,
        timewait_at_ns=established + 30 * MS + 150 * US,
        syn_retransmits=2,
        retransmits=2,
        closed_by=Side.LOCAL,
        closed_how=How.FIN,
        outcome=Outcome.CLOSED,
    )


def dropped(at_ns: int = START + 3 * S) -> Connection:
    """A SYN that the listener dropped each time: a life without states."""
    full = Stage.SYN_ACCEPT_QUEUE_FULL
    drops = [moment(at_ns + wait * S, Kind.SYN_DROPPED, full, 2, 1) for wait in (0, 1, 3)]
    return Connection(
        id=9,
        role=Role.SERVER,
        family=socket.AF_INET,
        netns=4026531840,
        local=endpoint("10.0.0.1", 8080),
        remote=endpoint("10.0.0.3", 40000),
        moments=drops,
        listening_process=WEB,
        syn_at_ns=at_ns,
        ended_at_ns=at_ns + 3 * S,
        syn_drops=3,
        closed_how=How.DROPPED,
        outcome=Outcome.SYN_DROPPED,
    )


def refused(at_ns: int = START + 4 * S) -> Connection:
    return Connection(
        id=10,
        role=Role.CLIENT,
        family=socket.AF_INET,
        netns=4026531840,
        local=endpoint("127.0.0.1", 40002),
        remote=endpoint("127.0.0.1", 8080),
        spans=spans((State.SYN_SENT, at_ns, 40 * US), (State.CLOSE, at_ns + 40 * US, None)),
        moments=[moment(at_ns + 40 * US, Kind.RESET_RECEIVED)],
        process=CURL,
        syn_at_ns=at_ns,
        ended_at_ns=at_ns + 40 * US,
        error=111,
        closed_by=Side.REMOTE,
        closed_how=How.REFUSED,
        outcome=Outcome.REFUSED,
    )


def leaked(at_ns: int = START + 5 * S) -> Connection:
    """Still open at the end, in CLOSE_WAIT; it began before the trace."""
    return Connection(
        id=11,
        role=Role.UNKNOWN,
        family=socket.AF_INET,
        netns=4026531840,
        local=endpoint("10.0.0.1", 8080),
        remote=endpoint("10.0.0.4", 40003),
        spans=spans((State.ESTABLISHED, None, None), (State.CLOSE_WAIT, at_ns, None)),
        process=WEB,
        partial=frozenset({Partial.BEGAN_BEFORE}),
        outcome=Outcome.OPEN,
    )


def never_accepted(at_ns: int = START + 6 * S) -> Connection:
    life = server(at_ns, 12)
    life.process = None
    life.accepted_at_ns = None
    life.closed_by = Side.LOCAL
    life.closed_how = How.LISTENER_CLOSED
    life.outcome = Outcome.NEVER_ACCEPTED
    life.moments = [moment((life.ended_at_ns or 0) + 5 * US, Kind.RESET_SENT)]
    return life


def v6(at_ns: int = START + 7 * S) -> Connection:
    life = server(at_ns, 13)
    life.family = socket.AF_INET6
    life.local = endpoint("2001:db8:85a3:17::8a2e:370:7334", 8080)
    life.remote = endpoint("2001:db8:1234:5678:9abc:def0:1111:2222", 53412)
    return life


def listener() -> Listener:
    return Listener(
        netns=4026531840,
        local=endpoint("0.0.0.0", 8080),  # noqa: S104 - an address in a table
        process=WEB,
        opened_at_ns=START,
        accept_queue_limit=1,
        accept_queue_peak=2,
        syn_queue_peak=1,
        drops={Stage.SYN_ACCEPT_QUEUE_FULL: 4, Stage.ACK_ACCEPT_QUEUE_FULL: 12},
    )


def every_life() -> list[Connection]:
    return [
        server(),
        overflowed(),
        client(),
        dropped(),
        refused(),
        leaked(),
        never_accepted(),
        v6(),
    ]


def batch(*records: Record) -> bytes:
    """Records as they lie in the ring, end to end."""
    return b"".join(struct.pack("<" + RECORD_FORMAT, *one) for one in records)
