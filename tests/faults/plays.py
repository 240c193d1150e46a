"""Each fault, as plainly as it can be made. Lengths are for rules whose time is divided by 30."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.verdicts.verdict import Cause

from .stage import WEB

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Stage

API: Final = 9000
REFUSING: Final = 9001
SILENT: Final = 9002
"""Ports on the other side: served, closed, filtered."""

Script = Iterator[None]
"""Sets up all before it yields, so that tracing may begin; and then has the fault happen."""


def healthy(stage: Stage) -> Script:
    """Clients come and are served; this host calls others; now and then somebody is refused."""
    stage.serve()
    stage.serve_elsewhere(API)
    visitors, callers = stage.clients(stay_s=0.2), stage.local_clients()
    yield
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))
    stage.loop.every(4, lambda: visitors.connect(stage.here, 8), 1)
    stage.loop.every(0.5, lambda: callers.connect((stage.there, API)))
    stage.loop.every(10, lambda: callers.connect((stage.there, REFUSING)))


def accept_queue_overflow(stage: Stage) -> Script:
    """Bursts of 20 to listen(8), every 4 s; accept() empties the queue five times a second.

    Beside it all that dashboards show: calls to others, refused ones, a SYN sent again, CLOSE_WAIT.
    """
    stage.serve(backlog=8, pause_s=0.2)
    stage.serve(WEB + 1, late_s=8)
    stage.serve_elsewhere(API)
    stage.drop(stage.client, f"tcp dport {SILENT}")
    visitors, callers = stage.clients(stay_s=0.1), stage.local_clients()
    impatient = stage.local_clients(patience_s=1.5)
    yield
    stage.loop.every(4, lambda: visitors.connect(stage.here, 20))
    stage.loop.every(2, lambda: visitors.connect((stage.here[0], WEB + 1)))
    stage.loop.every(0.5, lambda: callers.connect((stage.there, API)))
    stage.loop.every(8, lambda: callers.connect((stage.there, REFUSING)))
    stage.loop.every(15, lambda: impatient.connect((stage.there, SILENT)), 5)


def accept_loop_slow(stage: Stage) -> Script:
    """4 clients a second; accept() takes one every 0.6 s."""
    stage.serve(backlog=8, pause_s=0.6, most=1)
    visitors = stage.clients(patience_s=5)
    yield
    stage.loop.every(0.25, lambda: visitors.connect(stage.here))


def accept_queue_near_limit(stage: Stage) -> Script:
    """Bursts of 15 where 17 fit in."""
    stage.serve(backlog=16, pause_s=0.15)
    visitors = stage.clients()
    yield
    stage.loop.every(1.5, lambda: visitors.connect(stage.here, 15))


def syn_flood(stage: Stage) -> Script:
    """25 SYNs a second from nowhere, answered with cookies; two real clients a second."""
    stage.server.sysctl("ipv4.tcp_synack_retries", 1)
    stage.serve(backlog=16)
    visitors = stage.clients()
    yield
    stage.flood(40)
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))


def syn_flood_without_cookies(stage: Stage) -> Script:
    """The same without cookies: real clients fail too."""
    stage.server.sysctl("ipv4.tcp_syncookies", 0)
    stage.server.sysctl("ipv4.tcp_synack_retries", 1)
    stage.serve(backlog=16)
    visitors = stage.clients(patience_s=5)
    yield
    stage.flood(40)
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))


def syn_queue_full(stage: Stage) -> Script:
    """Bursts of 10 from 300 ms away, where the SYN queue has 6 places without cookies."""
    stage.server.sysctl("ipv4.tcp_syncookies", 0)
    stage.server.sysctl("ipv4.tcp_max_syn_backlog", 8)
    stage.client.delay("wire", 300)
    stage.serve()
    visitors = stage.clients()
    yield
    stage.loop.every(2, lambda: visitors.connect(stage.here, 10))


def requests_expiring(stage: Stage) -> Script:
    """The SYN-ACKs to one of two client addresses get lost."""
    stage.server.sysctl("ipv4.tcp_synack_retries", 1)
    stage.drop(stage.client, f"ip daddr {stage.unlucky} tcp flags & (syn | ack) == (syn | ack)")
    stage.serve()
    visitors, unlucky = stage.clients(), stage.clients(source=stage.unlucky, patience_s=0.5)
    yield
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))
    stage.loop.every(1, lambda: unlucky.connect(stage.here))


def syn_ack_lost(stage: Stage) -> Script:
    """Every second SYN-ACK gets lost; the next one gets through, perhaps."""
    flags = "tcp flags & (syn | ack) == (syn | ack)"
    stage.drop(stage.client, f"{flags} numgen inc mod 2 0")
    stage.serve()
    visitors = stage.clients()
    yield
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))


def close_wait_leak(stage: Stage) -> Script:
    """A process that never closes: 60 clients at first, then one a second."""
    stage.serve(late_s=None)
    visitors = stage.clients()
    yield
    stage.loop.after(0.5, lambda: visitors.connect(stage.here, 30))
    stage.loop.after(1, lambda: visitors.connect(stage.here, 30))
    stage.loop.every(1, lambda: visitors.connect(stage.here), 2)


def time_wait_near_port_exhaustion(stage: Stage) -> Script:
    """90 connections that this host closed first, where it has 100 ports."""
    with stage.server.inside():
        set_port_range(40_000, 40_099)
    stage.serve_elsewhere(API)
    callers = stage.local_clients()
    yield
    for burst in range(6):
        stage.loop.after(0.5 * burst, lambda: callers.connect((stage.there, API), 15))
    stage.loop.every(10, lambda: callers.connect((stage.there, API)), 5)


def syn_retransmits(stage: Stage) -> Script:
    """Every second call goes to a remote that does not answer."""
    stage.serve_elsewhere(API)
    stage.drop(stage.client, f"tcp dport {SILENT}")
    callers = stage.local_clients(patience_s=3.5)
    yield
    stage.loop.every(1, lambda: callers.connect((stage.there, API)))
    stage.loop.every(1, lambda: callers.connect((stage.there, SILENT)), 0.5)


def remote_refuses(stage: Stage) -> Script:
    """Every second call goes to a port where nobody listens."""
    stage.serve_elsewhere(API)
    callers = stage.local_clients()
    yield
    stage.loop.every(1, lambda: callers.connect((stage.there, API)))
    stage.loop.every(1, lambda: callers.connect((stage.there, REFUSING)), 0.5)


def reset_storm(stage: Stage) -> Script:
    """A server that resets whoever it has accepted."""
    stage.serve(at_once=True, is_abrupt=True)
    visitors = stage.clients(stay_s=1)
    yield
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))


def events_lost(stage: Stage) -> Script:
    """A ring of two pages, and bursts of 30 clients."""
    stage.serve()
    visitors = stage.clients()
    yield
    stage.loop.every(1, lambda: visitors.connect(stage.here, 30))


def ledger_disagrees(stage: Stage) -> Script:
    """SYNs to the network's last address: the kernel drops and counts them, unseen by any probe.

    tcp_v4_conn_request drops what was sent to a broadcast address before tcp_conn_request.
    """
    stage.client.ip("route", "add", stage.broadcast, "via", stage.here[0])
    stage.serve()
    visitors, misled = stage.clients(), stage.clients(patience_s=0.5)
    yield
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))
    stage.loop.every(2, lambda: misled.connect((stage.broadcast, WEB)))


def set_port_range(first: int, last: int) -> None:
    """Gives the calling thread's namespace so few ephemeral ports."""
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{first} {last}")


class Play(NamedTuple):
    """One fault."""

    play: Callable[[Stage], Script]
    length_s: float
    """How long it is recorded."""
    alert: str | None = None
    """What fires on it; None for nothing."""
    cause: Cause | None = None
    """What its verdict says; None for silence."""
    options: tuple[str, ...] = ()
    """Of `record`."""
    is_wide: bool = False
    """Whether both sides are traced."""


PLAYS: Final = {
    "healthy": Play(healthy, 50, None),
    "accept-queue-overflow": Play(
        accept_queue_overflow, 60, "TcptraceAcceptQueueOverflow", Cause.ACCEPT_QUEUE_TOO_SMALL
    ),
    "accept-loop-slow": Play(
        accept_loop_slow, 32, "TcptraceAcceptLoopSlow", Cause.ACCEPT_LOOP_SLOW
    ),
    "accept-queue-near-limit": Play(accept_queue_near_limit, 36, "TcptraceAcceptQueueNearLimit"),
    "syn-flood": Play(syn_flood, 26, "TcptraceSynFlood", Cause.SYN_FLOOD_WITH_COOKIES),
    "syn-flood-without-cookies": Play(
        syn_flood_without_cookies, 30, "TcptraceSynFlood", Cause.SYN_FLOOD_WITHOUT_COOKIES
    ),
    "syn-queue-full": Play(syn_queue_full, 38, "TcptraceSynQueueFull", Cause.SYN_QUEUE_FULL),
    "requests-expiring": Play(
        requests_expiring, 48, "TcptraceRequestsExpiring", Cause.HALF_OPEN_EXPIRY
    ),
    "syn-ack-lost": Play(syn_ack_lost, 30, "TcptraceSynAckRetransmits", Cause.SYN_ACK_LOST),
    "close-wait-leak": Play(close_wait_leak, 50, "TcptraceCloseWaitLeak", Cause.CLOSE_WAIT_LEAK),
    "time-wait-near-port-exhaustion": Play(
        time_wait_near_port_exhaustion,
        32,
        "TcptraceTimeWaitNearPortExhaustion",
        Cause.EPHEMERAL_PORTS_IN_TIME_WAIT,
    ),
    "syn-retransmits": Play(syn_retransmits, 34, "TcptraceSynRetransmits", Cause.REMOTE_SILENT),
    "remote-refuses": Play(remote_refuses, 30, "TcptraceConnectsRefused", Cause.REMOTE_REFUSES),
    "reset-storm": Play(reset_storm, 30, "TcptraceResets", Cause.RESET_STORM),
    "events-lost": Play(events_lost, 18, "TcptraceEventsLost", options=("--ring-size", "8k")),
    "ledger-disagrees": Play(ledger_disagrees, 30, "TcptraceLedgerDisagrees"),
}
"""By the recording's name."""
