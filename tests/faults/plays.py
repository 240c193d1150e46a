"""Each fault, as plainly as it can be made. Lengths are for rules whose time is divided by 30."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.verdicts.verdict import Cause

from .stage import CLIENT, SERVER, UNLUCKY, WEB, Stage, recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HERE: Final = (SERVER, WEB)
_API: Final = (CLIENT, 9000)
_REFUSING: Final = (CLIENT, 9001)
_SILENT: Final = (CLIENT, 9002)


def healthy(stage: Stage, path: Path) -> None:
    """Clients come and are served; this host calls others; now and then somebody is refused."""
    stage.serve()
    stage.serve_elsewhere(_API[1])
    visitors, callers = stage.clients(stay_s=0.2), stage.local_clients()
    with recording(path, stage.server):
        stage.loop.every(0.5, lambda: visitors.connect(_HERE))
        stage.loop.every(4, lambda: visitors.connect(_HERE, 8), 1)
        stage.loop.every(0.5, lambda: callers.connect(_API))
        stage.loop.every(10, lambda: callers.connect(_REFUSING))
        stage.loop.run(50)


def accept_queue_overflow(stage: Stage, path: Path) -> None:
    """Bursts of 20 to listen(8), every 4 s; accept() empties the queue five times a second.

    Beside it all that dashboards show: calls to others, refused ones, a SYN sent again, CLOSE_WAIT.
    """
    stage.serve(backlog=8, pause_s=0.2)
    stage.serve(WEB + 1, late_s=8)
    stage.serve_elsewhere(_API[1])
    stage.drop(stage.client, f"tcp dport {_SILENT[1]}")
    visitors, callers = stage.clients(stay_s=0.1), stage.local_clients()
    impatient = stage.local_clients(patience_s=1.5)
    with recording(path, stage.server):
        stage.loop.every(4, lambda: visitors.connect(_HERE, 20))
        stage.loop.every(2, lambda: visitors.connect((SERVER, WEB + 1)))
        stage.loop.every(0.5, lambda: callers.connect(_API))
        stage.loop.every(5, lambda: callers.connect(_REFUSING))
        stage.loop.every(15, lambda: impatient.connect(_SILENT), 5)
        stage.loop.run(60)


def accept_loop_slow(stage: Stage, path: Path) -> None:
    """4 clients a second; accept() takes one every 0.6 s."""
    stage.serve(backlog=8, pause_s=0.6, most=1)
    visitors = stage.clients(patience_s=5)
    with recording(path, stage.server):
        stage.loop.every(0.25, lambda: visitors.connect(_HERE))
        stage.loop.run(32)


def accept_queue_near_limit(stage: Stage, path: Path) -> None:
    """Bursts of 15 where 17 fit in."""
    stage.serve(backlog=16, pause_s=0.15)
    visitors = stage.clients()
    with recording(path, stage.server):
        stage.loop.every(1.5, lambda: visitors.connect(_HERE, 15))
        stage.loop.run(36)


def syn_flood(stage: Stage, path: Path) -> None:
    """25 SYNs a second from nowhere, answered with cookies; two real clients a second."""
    stage.server.sysctl("ipv4.tcp_synack_retries", 1)
    stage.serve(backlog=16)
    visitors = stage.clients()
    with recording(path, stage.server), stage.flood(40):
        stage.loop.every(0.5, lambda: visitors.connect(_HERE))
        stage.loop.run(26)


def syn_flood_without_cookies(stage: Stage, path: Path) -> None:
    """The same without cookies: real clients fail too."""
    stage.server.sysctl("ipv4.tcp_syncookies", 0)
    stage.server.sysctl("ipv4.tcp_synack_retries", 1)
    stage.serve(backlog=16)
    visitors = stage.clients(patience_s=5)
    with recording(path, stage.server), stage.flood(40):
        stage.loop.every(0.5, lambda: visitors.connect(_HERE))
        stage.loop.run(30)


def syn_queue_full(stage: Stage, path: Path) -> None:
    """Bursts of 10 from 300 ms away, where the SYN queue has 6 places without cookies."""
    stage.server.sysctl("ipv4.tcp_syncookies", 0)
    stage.server.sysctl("ipv4.tcp_max_syn_backlog", 8)
    stage.client.delay("wire", 300)
    stage.serve()
    visitors = stage.clients()
    with recording(path, stage.server):
        stage.loop.every(2, lambda: visitors.connect(_HERE, 10))
        stage.loop.run(38)


def requests_expiring(stage: Stage, path: Path) -> None:
    """The SYN-ACKs to one of two client addresses get lost."""
    stage.server.sysctl("ipv4.tcp_synack_retries", 1)
    stage.drop(stage.client, f"ip daddr {UNLUCKY} tcp flags & (syn | ack) == (syn | ack)")
    stage.serve()
    visitors, unlucky = stage.clients(), stage.clients(source=UNLUCKY, patience_s=0.5)
    with recording(path, stage.server):
        stage.loop.every(0.5, lambda: visitors.connect(_HERE))
        stage.loop.every(1, lambda: unlucky.connect(_HERE))
        stage.loop.run(48)


def close_wait_leak(stage: Stage, path: Path) -> None:
    """A process that never closes: 60 clients at first, then one a second."""
    stage.serve(late_s=None)
    visitors = stage.clients()
    with recording(path, stage.server):
        stage.loop.after(0.5, lambda: visitors.connect(_HERE, 30))
        stage.loop.after(1, lambda: visitors.connect(_HERE, 30))
        stage.loop.every(1, lambda: visitors.connect(_HERE), 2)
        stage.loop.run(50)


def time_wait_near_port_exhaustion(stage: Stage, path: Path) -> None:
    """90 connections that this host closed first, where it has 100 ports."""
    with stage.server.inside():
        _set_port_range(40_000, 40_099)
    stage.serve_elsewhere(_API[1])
    callers = stage.local_clients()
    with recording(path, stage.server):
        for burst in range(6):
            stage.loop.after(0.5 * burst, lambda: callers.connect(_API, 15))
        stage.loop.every(10, lambda: callers.connect(_API), 5)
        stage.loop.run(32)


def syn_retransmits(stage: Stage, path: Path) -> None:
    """Every second call goes to a remote that does not answer."""
    stage.serve_elsewhere(_API[1])
    stage.drop(stage.client, f"tcp dport {_SILENT[1]}")
    callers = stage.local_clients(patience_s=3.5)
    with recording(path, stage.server):
        stage.loop.every(1, lambda: callers.connect(_API))
        stage.loop.every(1, lambda: callers.connect(_SILENT), 0.5)
        stage.loop.run(34)


def events_lost(stage: Stage, path: Path) -> None:
    """A ring of two pages, and bursts of 30 clients."""
    stage.serve()
    visitors = stage.clients()
    with recording(path, stage.server, "--ring-size", "8k"):
        stage.loop.every(1, lambda: visitors.connect(_HERE, 30))
        stage.loop.run(18)


def ledger_disagrees(stage: Stage, path: Path) -> None:
    """SYNs to the network's last address: the kernel drops and counts them, unseen by any probe.

    tcp_v4_conn_request drops what was sent to a broadcast address before tcp_conn_request.
    """
    stage.client.ip("route", "add", "10.9.0.255", "via", SERVER)
    stage.serve()
    visitors, misled = stage.clients(), stage.clients(patience_s=0.5)
    with recording(path, stage.server):
        stage.loop.every(0.5, lambda: visitors.connect(_HERE))
        stage.loop.every(2, lambda: misled.connect(("10.9.0.255", WEB)))
        stage.loop.run(30)


def _set_port_range(first: int, last: int) -> None:
    from pathlib import Path  # noqa: PLC0415 - only annotations need it elsewhere

    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{first} {last}")


class Play(NamedTuple):
    """One recording."""

    play: Callable[[Stage, Path], None]
    alert: str | None
    """What fires on it; None for nothing."""
    cause: Cause | None = None
    """What its verdict says; None for silence."""


PLAYS: Final = {
    "healthy": Play(healthy, None),
    "accept-queue-overflow": Play(
        accept_queue_overflow, "TcptraceAcceptQueueOverflow", Cause.ACCEPT_QUEUE_TOO_SMALL
    ),
    "accept-loop-slow": Play(accept_loop_slow, "TcptraceAcceptLoopSlow", Cause.ACCEPT_LOOP_SLOW),
    "accept-queue-near-limit": Play(accept_queue_near_limit, "TcptraceAcceptQueueNearLimit"),
    "syn-flood": Play(syn_flood, "TcptraceSynFlood", Cause.SYN_FLOOD_WITH_COOKIES),
    "syn-flood-without-cookies": Play(
        syn_flood_without_cookies, "TcptraceSynFlood", Cause.SYN_FLOOD_WITHOUT_COOKIES
    ),
    "syn-queue-full": Play(syn_queue_full, "TcptraceSynQueueFull", Cause.SYN_QUEUE_FULL),
    "requests-expiring": Play(
        requests_expiring, "TcptraceRequestsExpiring", Cause.HALF_OPEN_EXPIRY
    ),
    "close-wait-leak": Play(close_wait_leak, "TcptraceCloseWaitLeak", Cause.CLOSE_WAIT_LEAK),
    "time-wait-near-port-exhaustion": Play(
        time_wait_near_port_exhaustion,
        "TcptraceTimeWaitNearPortExhaustion",
        Cause.EPHEMERAL_PORTS_IN_TIME_WAIT,
    ),
    "syn-retransmits": Play(syn_retransmits, "TcptraceSynRetransmits", Cause.REMOTE_SILENT),
    "events-lost": Play(events_lost, "TcptraceEventsLost"),
    "ledger-disagrees": Play(ledger_disagrees, "TcptraceLedgerDisagrees"),
}
"""By the recording's name."""
